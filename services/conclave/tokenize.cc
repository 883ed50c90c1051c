// `conclave tokenize`: text to ids and back, as the model's own tokenizer does it.

#include <cstdio>
#include <memory>
#include <span>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "services/conclave/commands.h"
#include "services/conclave/prompt.h"

namespace conclave {
namespace {

struct TokenizeFlags {
  std::string model;
  std::optional<std::string> text;
  std::optional<std::string> file;
  std::optional<std::string> decode;
  bool no_bos = false;
};

// An id without a token would be nothing in the text, and nobody would know.
absl::Status check_known(std::span<const int32_t> ids, int32_t num_ids) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < num_ids) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("id ", ids[i], " at --decode[", i, "] is not in [0, ", num_ids, ")"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> text_as_ids(const Tokenizer& tokenizer, const TokenizeFlags& flags) {
  std::string text = flags.text.value_or("");
  if (flags.file) {
    ASSIGN_OR_RETURN(text, read_text_file(*flags.file));
  }
  const absl::StatusOr<std::vector<int32_t>> ids =
      tokenizer.encode(text, {.add_bos = !flags.no_bos});
  if (ids.ok()) return join_ids(*ids);
  return absl::Status(ids.status().code(), absl::StrCat(ids.status().message(), " (",
                                                        flags.file.value_or("--text"), ")"));
}

absl::Status tokenize(const TokenizeFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::load(flags.model));
  std::string line;
  if (flags.decode) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, parse_ids(*flags.decode, "--decode"));
    RETURN_IF_ERROR(check_known(ids, tokenizer->size()));
    line = tokenizer->decode(ids, /*skip_special=*/false);
  } else {
    ASSIGN_OR_RETURN(line, text_as_ids(*tokenizer, flags));
  }
  line.push_back('\n');
  std::fwrite(line.data(), 1, line.size(), stdout);
  if (std::fflush(stdout) != 0) return absl::DataLossError("stdout could not be written");
  return absl::OkStatus();
}

}  // namespace

Command add_tokenize(CLI::App* parent) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* const app = parent->add_subcommand("tokenize", "Turn text into ids, or ids into text");
  add_model_option(app, "--model", &flags->model);
  CLI::Option_group* const group = app->add_option_group("input");
  group->add_option("--text", flags->text, "Text to encode");
  group->add_option("--file", flags->file, "File to encode; - is stdin");
  group->add_option("--decode", flags->decode, "Ids to decode, comma-separated");
  group->require_option(1);
  app->add_flag("--no-bos", flags->no_bos, "Do not prepend the model's bos id");
  return {app, [flags] { return tokenize(*flags); }};
}

}  // namespace conclave
