// `conclave convert`: a model folder whose weights are int8 already.

#include <cstdio>
#include <memory>
#include <string>

#include "common/status_macros.h"
#include "common/thread_pool.h"
#include "kernels/instruction_class.h"
#include "model/convert/convert_model.h"
#include "services/conclave/commands.h"
#include "services/conclave/flags.h"
#include "services/conclave/loading.h"
#include "services/local/model_folder.h"

namespace conclave {
namespace {

struct ConvertFlags {
  std::string model;
  std::string out;
  WeightsFlag weights{.text = "int8"};
  int32_t threads = 0;
};

absl::Status convert(const ConvertFlags& flags) {
  RETURN_IF_ERROR(check_instruction_class());
  const WeightTypes types = flags.weights.types();
  ASSIGN_OR_RETURN(const ModelFolder folder, read_model_folder(flags.model, types));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<ThreadPool> threads,
      ThreadPool::start({.num_threads = flags.threads == 0 ? num_usable_cores() : flags.threads}));
  const LocalModel::Listener listener = loading_on_stderr("writing", "wrote");
  return convert_model(
      *folder.checkpoint, folder.config,
      {.out = flags.out, .types = types, .executor = threads.get()},
      [&](uint64_t done, uint64_t total) { listener.progress(flags.out, done, total); });
}

}  // namespace

Command add_convert(CLI::App* parent) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* const app =
      parent->add_subcommand("convert", "Write a model folder whose weights are int8 already");
  add_model_option(app, "--model", &flags->model);
  app->add_option("--out", flags->out, "Folder to write, which is not there yet or is empty")
      ->required()
      ->check(not_empty());
  flags->weights.add_to(app);
  app->add_option("--threads", flags->threads, "Threads that convert; 0: all usable cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  return {app, [flags] { return convert(*flags); }};
}

}  // namespace conclave
