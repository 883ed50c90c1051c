// `conclave generate`: one request through the whole engine, text to stdout as it comes.

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "services/conclave/commands.h"
#include "services/conclave/flags.h"
#include "services/conclave/loading.h"
#include "services/conclave/prompt.h"
#include "services/conclave/remote_generate.h"
#include "services/conclave/text_printer.h"

namespace conclave {
namespace {

constexpr RequestId kOnlyRequest{1};

struct GenerateFlags {
  std::string model;
  std::string server;  // instead of a model
  PromptFlags prompt;
  RuntimeFlags runtime;
  SamplingFlags sampling;
  std::vector<std::string> stops;
  bool print_ids = false;
};

absl::Status check_flags(const GenerateFlags& flags, const ModelFolder& folder) {
  if (!flags.print_ids || !flags.stops.empty()) RETURN_IF_ERROR(folder.check_serves_text());
  for (const std::string& stop : flags.stops) {
    if (stop.empty()) return absl::InvalidArgumentError("--stop is empty");
  }
  return absl::OkStatus();
}

// The engine refuses what is out of range with the same words; here the numbers only size the
// cache.
int32_t tokens_needed(const Request& request, const ModelConfig& config) {
  const int64_t wanted =
      static_cast<int64_t>(request.prompt.size()) + std::max(request.sampling.max_tokens, 1);
  return static_cast<int32_t>(std::min<int64_t>(wanted, config.max_positions));
}

absl::Status generate(const GenerateFlags& flags) {
  ASSIGN_OR_RETURN(const ModelFolder folder,
                   read_model_folder(flags.model, flags.runtime.weights.types()));
  RETURN_IF_ERROR(check_flags(flags, folder));
  Request request{.id = kOnlyRequest};
  ASSIGN_OR_RETURN(request.prompt, prompt_ids(flags.prompt, folder));
  ASSIGN_OR_RETURN(request.sampling, flags.sampling.resolve(folder.generation));
  const int32_t num_prompt = static_cast<int32_t>(request.prompt.size());
  const uint64_t seed = request.sampling.seed;
  ASSIGN_OR_RETURN(const LocalModel::Options options,
                   flags.runtime.resolve(folder.config, tokens_needed(request, folder.config)));
  RETURN_IF_ERROR(check_request(request, limits_of(folder, options)));
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalModel> model,
                   LocalModel::load(folder, options, loading_on_stderr()));

  const SystemClock clock;
  Engine& engine = model->engine();
  TextPrinter printer(&folder, &clock,
                      {.print_ids = flags.print_ids, .stops = flags.stops, .cancel = [&engine] {
                         engine.cancel(kOnlyRequest);
                       }});
  request.observer = &printer;
  RETURN_IF_ERROR(engine.submit(std::move(request)));
  while (!printer.finished()) CHECK(engine.step());
  RETURN_IF_ERROR(printer.status());
  if (std::ferror(stdout) != 0) return absl::DataLossError("stdout could not be written");
  std::fprintf(stderr, "%s\n", printer.statistics(num_prompt, seed).c_str());
  return absl::OkStatus();
}

}  // namespace

Command add_generate(CLI::App* parent) {
  auto flags = std::make_shared<GenerateFlags>();
  CLI::App* const app = parent->add_subcommand("generate", "Go on from a prompt");
  CLI::Option_group* const where = app->add_option_group("where");
  where->add_option("--model", flags->model, "Folder of a model, which is loaded for this")
      ->check(not_empty());
  where->add_option("--server", flags->server, "HOST:PORT of a cluster's gateway")
      ->check(not_empty());
  where->require_option(1);
  flags->prompt.add_to(app, /*allow_file=*/true);
  flags->runtime.add_to(app);
  flags->sampling.add_to(app);
  app->add_option("--stop", flags->stops, "Text that ends the output and is cut off; repeatable")
      ->allow_extra_args(false);
  app->add_flag("--print-ids", flags->print_ids,
                "Print the generated ids, comma-separated on one line, instead of text");
  return {app, [flags, app] {
            if (flags->server.empty()) return generate(*flags);
            RETURN_IF_ERROR(RuntimeFlags::check_not_given(*app, "--server"));
            return generate_remotely({.server = flags->server,
                                      .prompt = flags->prompt,
                                      .sampling = flags->sampling,
                                      .stops = flags->stops,
                                      .print_ids = flags->print_ids});
          }};
}

}  // namespace conclave
