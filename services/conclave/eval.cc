// `conclave eval`: how well a model predicts a text, and what weights of other types cost.

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "services/conclave/commands.h"
#include "services/conclave/flags.h"
#include "services/conclave/loading.h"
#include "services/conclave/prompt.h"
#include "services/conclave/window_score.h"

namespace conclave {
namespace {

constexpr int32_t kDefaultWindow = 512;

struct EvalFlags {
  std::string model;
  std::string text;
  RuntimeFlags runtime;
  WeightsFlag against{.text = ""};  // empty: no comparison
  int32_t window_ids = 0;           // 0: kDefaultWindow, or the context where that is less
  bool json = false;
};

// A model with weights of one kind, and how it does.
struct Contender {
  std::string weights;
  ModelFolder folder;
  std::unique_ptr<LocalModel> model;
  TextScore score;
};

absl::StatusOr<TextWindows> read_windows(const EvalFlags& flags, const ModelFolder& folder,
                                         int32_t window_ids) {
  RETURN_IF_ERROR(folder.check_serves_text());
  ASSIGN_OR_RETURN(const std::string text, read_text_file(flags.text));
  const Tokenizer& tokenizer = *folder.tokenizer;
  const absl::StatusOr<std::vector<int32_t>> ids =
      tokenizer.encode(text, {.add_bos = false, .match_added_tokens = false});
  if (!ids.ok()) {
    return absl::Status(ids.status().code(),
                        absl::StrCat(ids.status().message(), " (", flags.text, ")"));
  }
  const int32_t bos_id = tokenizer.adds_bos() ? tokenizer.bos_id() : -1;
  TextWindows windows = cut_windows(*ids, bos_id, window_ids);
  if (windows.num_predicted > 0) return windows;
  return absl::InvalidArgumentError(absl::StrCat(
      flags.text, text.empty() ? ": the text is empty" : ": the text is too short to be predicted",
      ", ", ids->size(), " ids"));
}

absl::Status load(const EvalFlags& flags, int32_t window_ids, Contender* contender) {
  ASSIGN_OR_RETURN(const LocalModel::Options options,
                   flags.runtime.resolve(contender->folder.config, window_ids));
  ASSIGN_OR_RETURN(contender->model,
                   LocalModel::load(contender->folder, options, loading_on_stderr()));
  return absl::OkStatus();
}

absl::Status score(const TextWindows& text, Contender* ours, Contender* theirs,
                   Agreement* agreement) {
  const int32_t vocab_size = ours->folder.config.vocab_size;
  for (const std::vector<int32_t>& ids : text.windows) {
    ASSIGN_OR_RETURN(const WindowLogits logits, run_window(ours->model.get(), ids, vocab_size));
    add_score(logits, ids, &ours->score);
    if (theirs == nullptr) continue;
    ASSIGN_OR_RETURN(const WindowLogits other, run_window(theirs->model.get(), ids, vocab_size));
    add_score(other, ids, &theirs->score);
    add_agreement(logits, other, agreement);
  }
  return absl::OkStatus();
}

nlohmann::ordered_json to_json(const Contender& contender) {
  return {{"weights", contender.weights},
          {"perplexity", contender.score.perplexity()},
          {"nats_per_id", contender.score.nats_per_id()}};
}

struct Report {
  const TextWindows& text;
  int32_t window_ids;
  const Contender& ours;
  const Contender* theirs;  // null: no comparison
  const Agreement& agreement;

  double cost() const { return ours.score.perplexity() / theirs->score.perplexity() - 1; }
};

void print_json(const Report& report) {
  nlohmann::ordered_json json = to_json(report.ours);
  json["ids"] = report.text.num_predicted;
  json["windows"] = report.text.windows.size();
  json["window_ids"] = report.window_ids;
  if (report.theirs != nullptr) {
    nlohmann::ordered_json against = to_json(*report.theirs);
    against["perplexity_cost"] = report.cost();
    against["same_best_id"] = report.agreement.same_best();
    against["mean_kl"] = report.agreement.mean_divergence();
    json["against"] = std::move(against);
  }
  std::printf("%s\n", json.dump(2).c_str());
}

void print_line(const std::string& name, const std::string& value) {
  std::printf("%-14s %s\n", name.c_str(), value.c_str());
}

void print_contender(const Contender& contender) {
  print_line("weights", contender.weights);
  print_line("  perplexity", absl::StrFormat("%.2f, %.3f nats an id", contender.score.perplexity(),
                                             contender.score.nats_per_id()));
}

void print_text(const Report& report) {
  print_line("text", absl::StrFormat("%d ids predicted in %d windows of at most %d",
                                     report.text.num_predicted, report.text.windows.size(),
                                     report.window_ids));
  print_contender(report.ours);
  if (report.theirs == nullptr) return;
  print_contender(*report.theirs);
  print_line("cost", absl::StrFormat("%+.2f %% perplexity", 100 * report.cost()));
  print_line("same best id", absl::StrFormat("%.2f %%", 100 * report.agreement.same_best()));
  print_line("mean KL", absl::StrFormat("%.4f nats", report.agreement.mean_divergence()));
}

absl::Status eval(const EvalFlags& flags) {
  Contender ours{.weights = flags.runtime.weights.text};
  ASSIGN_OR_RETURN(ours.folder, read_model_folder(flags.model, flags.runtime.weights.types()));
  const int32_t context = ours.folder.config.max_positions;
  if (flags.window_ids == 1) {
    return absl::InvalidArgumentError("--ctx 1: in a window of one id nothing is predicted");
  }
  if (flags.window_ids > context) {
    return absl::InvalidArgumentError(
        absl::StrCat("--ctx ", flags.window_ids, ": the model's context is ", context));
  }
  const int32_t window_ids =
      flags.window_ids == 0 ? std::min(kDefaultWindow, context) : flags.window_ids;
  ASSIGN_OR_RETURN(const TextWindows text, read_windows(flags, ours.folder, window_ids));
  RETURN_IF_ERROR(load(flags, window_ids, &ours));

  const bool compares = !flags.against.text.empty();
  Contender theirs{.weights = flags.against.text};
  if (compares) {
    ASSIGN_OR_RETURN(theirs.folder, read_model_folder(flags.model, flags.against.types()));
    RETURN_IF_ERROR(load(flags, window_ids, &theirs));
  }
  Agreement agreement;
  RETURN_IF_ERROR(score(text, &ours, compares ? &theirs : nullptr, &agreement));
  const Report report{text, window_ids, ours, compares ? &theirs : nullptr, agreement};
  flags.json ? print_json(report) : print_text(report);
  if (std::fflush(stdout) != 0) return absl::DataLossError("stdout could not be written");
  return absl::OkStatus();
}

}  // namespace

Command add_eval(CLI::App* parent) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* const app =
      parent->add_subcommand("eval", "Say how well a model predicts a text, and what int8 costs");
  add_model_option(app, "--model", &flags->model);
  app->add_option("--text", flags->text, "File with the text, UTF-8; - is stdin")
      ->required()
      ->check(not_empty());
  flags->runtime.add_to(app);
  flags->against.add_to(app, "--against-weights", "Compare with weights of other types");
  app->add_option("--ctx", flags->window_ids,
                  "Ids of a window; 0: 512, or the model's context where that is less")
      ->check(CLI::Range(0, INT32_MAX))
      ->capture_default_str();
  app->add_flag("--json", flags->json, "Print the result as JSON");
  return {app, [flags] { return eval(*flags); }};
}

}  // namespace conclave
