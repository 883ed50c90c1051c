// `conclave tokenize`: text to ids and back, as the model's own tokenizer does it.

#include <cstdio>
#include <memory>

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

absl::Status tokenize(const TokenizeFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::load(flags.model));
  std::string line;
  if (flags.decode) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, parse_ids(*flags.decode, "--decode"));
    line = tokenizer->decode(ids, /*skip_special=*/false);
  } else {
    std::string text = flags.text.value_or("");
    if (flags.file) {
      ASSIGN_OR_RETURN(text, read_text_file(*flags.file));
    }
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                     tokenizer->encode(text, {.add_bos = !flags.no_bos}));
    line = join_ids(ids);
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
  app->add_option("--model", flags->model, "Folder of the model")->required();
  CLI::Option_group* const group = app->add_option_group("input");
  group->add_option("--text", flags->text, "Text to encode");
  group->add_option("--file", flags->file, "File to encode; - is stdin");
  group->add_option("--decode", flags->decode, "Ids to decode, comma-separated");
  group->require_option(1);
  app->add_flag("--no-bos", flags->no_bos, "Do not prepend the model's bos id");
  return {app, [flags] { return tokenize(*flags); }};
}

}  // namespace conclave
