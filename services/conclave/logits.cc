// `conclave logits`: the raw logits of every position of a text, for comparison with a reference.

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/checked_math.h"
#include "common/host_memory.h"
#include "common/status_macros.h"
#include "model/checkpoint/safetensors_writer.h"
#include "services/conclave/commands.h"
#include "services/conclave/flags.h"
#include "services/conclave/loading.h"
#include "services/conclave/prompt.h"

namespace conclave {
namespace {

struct LogitsFlags {
  std::string model;
  PromptFlags prompt;
  RuntimeFlags runtime;
  std::string out;
  int32_t prompt_tokens = 0;  // 0: all
};

// Gathers rows [T, V] in order of positions.
class RowCollector final : public RequestObserver {
 public:
  explicit RowCollector(size_t num_values) { values_.reserve(num_values); }

  void on_logits(int32_t, std::span<const float> logits) override {
    values_.insert(values_.end(), logits.begin(), logits.end());
  }
  void on_token(const GeneratedToken&) override {}
  void on_finished(const Finish& finish) override { finish_ = finish; }

  const std::optional<Finish>& finish() const { return finish_; }
  std::span<const float> values() const { return values_; }

 private:
  std::vector<float> values_;
  std::optional<Finish> finish_;
};

// Ids from prompt_tokens on are forced: each is run in a step of its own, as if it had been drawn.
absl::StatusOr<Request> make_request(const LogitsFlags& flags, std::vector<int32_t> ids) {
  const int32_t num_ids = static_cast<int32_t>(ids.size());
  const int32_t num_prompt = flags.prompt_tokens == 0 ? num_ids : flags.prompt_tokens;
  if (num_prompt > num_ids) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--prompt-tokens %d: there are only %d ids", num_prompt, num_ids));
  }
  Request request{.id = RequestId{1}, .score_only = true, .wants_logits = true};
  request.forced.assign(ids.begin() + num_prompt, ids.end());
  ids.resize(static_cast<size_t>(num_prompt));
  request.prompt = std::move(ids);
  return request;
}

absl::Status write_logits(const LogitsFlags& flags) {
  RETURN_IF_ERROR(check_can_write(flags.out));
  ASSIGN_OR_RETURN(const ModelFolder folder,
                   read_model_folder(flags.model, flags.runtime.weights.types()));
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, prompt_ids(flags.prompt, folder));
  const int64_t num_ids = static_cast<int64_t>(ids.size());
  ASSIGN_OR_RETURN(Request request, make_request(flags, std::move(ids)));
  const int32_t needed =
      static_cast<int32_t>(std::min<int64_t>(num_ids, folder.config.max_positions));
  ASSIGN_OR_RETURN(const LocalModel::Options options, flags.runtime.resolve(folder.config, needed));
  RETURN_IF_ERROR(check_request(request, limits_of(folder, options)));
  const uint64_t num_values =
      static_cast<uint64_t>(num_ids) * static_cast<uint64_t>(folder.config.vocab_size);
  if (num_values * sizeof(float) > host_memory().available_bytes) {
    return absl::ResourceExhaustedError(absl::StrFormat("%d rows of %d logits need %s of memory",
                                                        num_ids, folder.config.vocab_size,
                                                        format_bytes(num_values * sizeof(float))));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalModel> model,
                   LocalModel::load(folder, options, loading_on_stderr()));

  RowCollector rows(num_values);
  request.observer = &rows;
  RETURN_IF_ERROR(model->engine().submit(std::move(request)));
  while (!rows.finish()) CHECK(model->engine().step());
  RETURN_IF_ERROR(rows.finish()->status);
  CHECK(rows.values().size() == num_values);
  const TensorToWrite logits{
      .name = "logits", .shape = {num_ids, folder.config.vocab_size}, .values = rows.values()};
  return write_safetensors(flags.out, {&logits, 1});
}

}  // namespace

Command add_logits(CLI::App* parent) {
  auto flags = std::make_shared<LogitsFlags>();
  CLI::App* const app =
      parent->add_subcommand("logits", "Write the raw logits of every position of a text");
  add_model_option(app, "--model", &flags->model);
  flags->prompt.add_to(app, /*allow_file=*/true);
  flags->runtime.add_to(app);
  app->add_option("--out", flags->out, "File to write: safetensors with `logits` f32 [T, V]")
      ->required();
  app->add_option("--prompt-tokens", flags->prompt_tokens,
                  "Ids from here on are run one step each, as generated ones; 0: none")
      ->check(CLI::Range(0, INT32_MAX))
      ->capture_default_str();
  return {app, [flags] { return write_logits(*flags); }};
}

}  // namespace conclave
