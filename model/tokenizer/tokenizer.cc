#include "model/tokenizer/tokenizer.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <utility>

#include "common/status_macros.h"
#include "model/tokenizer/json_fields.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/tokenizer_json.h"
#include "model/tokenizer/utf8.h"

namespace conclave {
namespace {

// Published files have up to 30 MB.
constexpr uintmax_t kMaxFileBytes = uintmax_t{256} << 20;

// The file's contents; nothing where there is none.
absl::StatusOr<std::optional<std::string>> read_file(const std::string& path) {
  std::error_code error;
  const auto type = std::filesystem::status(path, error).type();
  if (type == std::filesystem::file_type::not_found) return std::nullopt;
  if (type != std::filesystem::file_type::regular) return invalid_at(path, "no regular file");
  const uintmax_t num_bytes = std::filesystem::file_size(path, error);
  if (error) return absl::InternalError(path + ": " + error.message());
  if (num_bytes > kMaxFileBytes) return invalid_at(path, "larger than 256 MiB");
  std::string contents(num_bytes, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(contents.data(), static_cast<std::streamsize>(num_bytes));
  if (!file) return absl::InternalError(path + ": " + std::strerror(errno));
  return contents;
}

struct Config {
  std::optional<std::string> bos_token;
  std::optional<bool> add_bos_token;
};

absl::StatusOr<Config> read_config(std::string_view contents, const std::string& where) {
  Config config;
  if (contents.empty()) return config;
  ASSIGN_OR_RETURN(const Json document, parse_json_object(contents, where));
  if (const Json* bos = find_field(document, "bos_token")) {
    if (bos->is_object()) {
      ASSIGN_OR_RETURN(config.bos_token, string_field(*bos, "content", where + ": bos_token"));
    } else {
      ASSIGN_OR_RETURN(config.bos_token, string_field(document, "bos_token", where));
    }
  }
  if (find_field(document, "add_bos_token") != nullptr) {
    ASSIGN_OR_RETURN(config.add_bos_token, bool_field(document, "add_bos_token", false, where));
  }
  ASSIGN_OR_RETURN(const bool adds_eos, bool_field(document, "add_eos_token", false, where));
  if (adds_eos) return unimplemented_at(where, "add_eos_token");
  return config;
}

}  // namespace

struct Tokenizer::Parts {
  Parts(TokenizerFile file, int32_t bos_id, bool adds_bos)
      : tokens(std::move(file.tokens)),
        added_tokens(std::move(file.added_tokens)),
        pre_tokenizer(std::move(file.steps)),
        bpe(std::move(file.rules)),
        bos_id(bos_id),
        adds_bos(adds_bos) {}

  absl::Status encode_text(std::string_view text, PreTokenizer::Scratch* scratch,
                           std::vector<int32_t>* ids) const {
    RETURN_IF_ERROR(pre_tokenizer.split(text, scratch));
    for (std::string_view word : scratch->words) bpe.encode_word(word, ids);
    return absl::OkStatus();
  }

  const std::vector<TokenizerFile::Token> tokens;
  const AddedTokens added_tokens;
  const PreTokenizer pre_tokenizer;
  const Bpe bpe;
  const int32_t bos_id;
  const bool adds_bos;
};

Tokenizer::Tokenizer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::string& dir) {
  const std::string path = dir + "/tokenizer.json";
  ASSIGN_OR_RETURN(const std::optional<std::string> tokenizer_json, read_file(path));
  if (!tokenizer_json.has_value()) return absl::NotFoundError(path + ": no such file");
  ASSIGN_OR_RETURN(const std::optional<std::string> config_json,
                   read_file(dir + "/tokenizer_config.json"));
  return parse(*tokenizer_json, config_json.value_or(""), dir);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::parse(std::string_view tokenizer_json,
                                                            std::string_view config_json,
                                                            std::string_view where) {
  const std::string json_where = std::string(where) + "/tokenizer.json";
  const std::string config_where = std::string(where) + "/tokenizer_config.json";
  ASSIGN_OR_RETURN(TokenizerFile file, read_tokenizer_json(tokenizer_json, json_where));
  ASSIGN_OR_RETURN(const Config config, read_config(config_json, config_where));
  int32_t bos_id = file.template_bos_id;
  if (config.bos_token.has_value()) {
    const auto found = file.id_of_piece.find(*config.bos_token);
    bos_id = found == file.id_of_piece.end() ? -1 : found->second;
  }
  const bool adds_bos = config.add_bos_token.value_or(file.template_bos_id >= 0);
  if (adds_bos && bos_id < 0) {
    return invalid_at(config_where, "add_bos_token, but bos_token " +
                                        quote(config.bos_token.value_or("")) + " is no token");
  }
  return std::unique_ptr<Tokenizer>(
      new Tokenizer(std::make_unique<Parts>(std::move(file), bos_id, adds_bos)));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::encode(std::string_view text,
                                                       const EncodeOptions& options) const {
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()) - 1) {
    return absl::InvalidArgumentError("text of " + std::to_string(text.size()) + " bytes");
  }
  if (const std::optional<size_t> offset = find_invalid_utf8(text)) {
    return absl::InvalidArgumentError("text is not UTF-8 at byte " + std::to_string(*offset));
  }
  std::vector<int32_t> ids;
  if (options.add_bos && parts_->adds_bos) ids.push_back(parts_->bos_id);
  PreTokenizer::Scratch scratch;
  if (!options.match_added_tokens) {
    RETURN_IF_ERROR(parts_->encode_text(text, &scratch, &ids));
    return ids;
  }
  for (const AddedTokens::Section& section : parts_->added_tokens.split(text)) {
    if (section.id >= 0) {
      ids.push_back(section.id);
    } else {
      RETURN_IF_ERROR(parts_->encode_text(section.text, &scratch, &ids));
    }
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (int32_t id : ids) bytes += token_bytes(id, skip_special);
  std::string text;
  const size_t num_decoded = append_lossy_utf8(bytes, &text);
  if (num_decoded < bytes.size()) text += kReplacementCharacter;
  return text;
}

std::string_view Tokenizer::token_bytes(int32_t id, bool skip_special) const {
  if (id < 0 || id >= size()) return "";
  const TokenizerFile::Token& token = parts_->tokens[id];
  if (!token.exists || (skip_special && token.is_special)) return "";
  return token.bytes;
}

int32_t Tokenizer::size() const { return static_cast<int32_t>(parts_->tokens.size()); }
int32_t Tokenizer::bos_id() const { return parts_->bos_id; }
bool Tokenizer::adds_bos() const { return parts_->adds_bos; }

}  // namespace conclave
