#include "model/tokenizer/tokenizer_json.h"

#include <array>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "common/status_macros.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/json_fields.h"
#include "model/tokenizer/pipeline_json.h"
#include "model/tokenizer/pre_tokenizer_json.h"

namespace conclave {
namespace {

// Four times the largest published vocabulary. The table has a place for every id below the
// largest.
constexpr int64_t kMaxTokens = int64_t{1} << 20;

absl::string_view as_absl(std::string_view text) { return {text.data(), text.size()}; }

absl::StatusOr<int32_t> read_id(const Json& value, const std::string& where) {
  if (!value.is_number_integer()) {
    return invalid_at(where, std::string("the id is no integer but ") + value.type_name());
  }
  // Numbers over INT64_MAX are unsigned and would turn negative; both are refused alike.
  const int64_t id = value.get<int64_t>();
  if (id < 0 || id >= kMaxTokens) {
    return invalid_at(
        where, "id " + value.dump() + " is not between 0 and " + std::to_string(kMaxTokens - 1));
  }
  return static_cast<int32_t>(id);
}

absl::Status add_token(const std::string& piece, int32_t id, const std::string& where,
                       TokenizerFile* file) {
  if (file->tokens.size() <= static_cast<size_t>(id)) file->tokens.resize(id + 1);
  TokenizerFile::Token& token = file->tokens[id];
  if (token.exists) {
    return invalid_at(where, "id " + std::to_string(id) + " stands for " + quote(piece) +
                                 " and for another piece");
  }
  token.exists = true;
  // As Hugging Face decodes: a piece with any character that is no unit stands for itself.
  token.bytes = bytes_of_units(piece).value_or(piece);
  file->id_of_piece.emplace(piece, id);
  return absl::OkStatus();
}

absl::Status read_vocabulary(const Json& model, const std::string& where, TokenizerFile* file) {
  ASSIGN_OR_RETURN(const Json* vocab, object_field(model, "vocab", where));
  if (vocab->size() > static_cast<size_t>(kMaxTokens)) {
    return invalid_at(where, "vocab has more than " + std::to_string(kMaxTokens) + " pieces");
  }
  file->id_of_piece.reserve(vocab->size());
  for (const auto& [piece, value] : vocab->items()) {
    const std::string piece_where = where + ".vocab " + quote(piece);
    ASSIGN_OR_RETURN(const int32_t id, read_id(value, piece_where));
    RETURN_IF_ERROR(add_token(piece, id, piece_where, file));
  }
  for (int32_t byte = 0; byte < 256; ++byte) {
    const std::string unit = unit_of_byte(static_cast<uint8_t>(byte));
    const auto found = file->id_of_piece.find(unit);
    file->rules.id_of_byte[byte] = found == file->id_of_piece.end() ? -1 : found->second;
    if (file->rules.id_of_byte[byte] < 0 && occurs_in_utf8(static_cast<uint8_t>(byte))) {
      return invalid_at(where,
                        "vocab has no piece " + quote(unit) + " for byte " + std::to_string(byte));
    }
  }
  return absl::OkStatus();
}

// "a b" or ["a", "b"].
absl::StatusOr<std::pair<std::string_view, std::string_view>> read_pair(const Json& merge,
                                                                        const std::string& where) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair<std::string_view, std::string_view>{merge[0].get_ref<const std::string&>(),
                                                         merge[1].get_ref<const std::string&>()};
  }
  if (!merge.is_string()) return invalid_at(where, "neither a text nor a pair of texts");
  const std::string_view line = merge.get_ref<const std::string&>();
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    return invalid_at(where, quote(line) + " is not two pieces with a space between them");
  }
  return std::pair{line.substr(0, space), line.substr(space + 1)};
}

absl::Status read_merge(const Json& merge, int32_t rank, const std::string& where,
                        TokenizerFile* file) {
  ASSIGN_OR_RETURN(const auto pair, read_pair(merge, where));
  const std::string merged = std::string(pair.first) + std::string(pair.second);
  std::array<int32_t, 3> ids{};
  const std::array<std::string_view, 3> pieces = {pair.first, pair.second, merged};
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto found = file->id_of_piece.find(as_absl(pieces[i]));
    if (found == file->id_of_piece.end()) {
      return invalid_at(where, "piece " + quote(pieces[i]) + " is not in the vocabulary");
    }
    ids[i] = found->second;
  }
  // Of two rules for one pair the later one counts, as in Hugging Face's own reader.
  file->rules.merges.insert_or_assign(pair_key(ids[0], ids[1]), MergeRule{rank, ids[2]});
  return absl::OkStatus();
}

absl::Status read_merges(const Json& model, const std::string& where, TokenizerFile* file) {
  ASSIGN_OR_RETURN(const Json* merges, array_field(model, "merges", where));
  if (merges->size() > static_cast<size_t>(kMaxTokens)) {
    return invalid_at(where, "more than " + std::to_string(kMaxTokens) + " merges");
  }
  file->rules.merges.reserve(merges->size());
  for (size_t i = 0; i < merges->size(); ++i) {
    const std::string merge_where = where + ".merges[" + std::to_string(i) + "]";
    RETURN_IF_ERROR(read_merge((*merges)[i], static_cast<int32_t>(i), merge_where, file));
  }
  return absl::OkStatus();
}

absl::Status read_model(const Json& document, const std::string& where, TokenizerFile* file) {
  ASSIGN_OR_RETURN(const Json* model, object_field(document, "model", where));
  const std::string model_where = where + ": model";
  ASSIGN_OR_RETURN(const std::string type, string_field(*model, "type", model_where));
  if (type != "BPE") return unimplemented_at(model_where, "type " + quote(type));
  for (const char* key :
       {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json* field = find_field(*model, key);
    // Some files write an empty affix for none.
    if (field != nullptr && !(field->is_string() && field->get_ref<const std::string&>().empty())) {
      return unimplemented_at(model_where, key);
    }
  }
  ASSIGN_OR_RETURN(const bool falls_back, bool_field(*model, "byte_fallback", false, model_where));
  if (falls_back) return unimplemented_at(model_where, "byte_fallback");
  ASSIGN_OR_RETURN(const bool ignores, bool_field(*model, "ignore_merges", false, model_where));
  RETURN_IF_ERROR(read_vocabulary(*model, model_where, file));
  RETURN_IF_ERROR(read_merges(*model, model_where, file));
  if (!ignores) return absl::OkStatus();
  for (const auto& [piece, id] : file->id_of_piece) {
    const std::optional<std::string> word = bytes_of_units(piece);
    if (word.has_value() && !word->empty()) file->rules.whole_words.emplace(*word, id);
  }
  return absl::OkStatus();
}

absl::Status read_added_token(const Json& entry, const std::string& where,
                              absl::flat_hash_set<std::string>* seen, TokenizerFile* file) {
  RETURN_IF_ERROR(expect_object(entry, where));
  AddedToken token;
  ASSIGN_OR_RETURN(token.content, string_field(entry, "content", where));
  if (token.content.empty()) return invalid_at(where, "content is empty");
  const Json* id = find_field(entry, "id");
  if (id == nullptr) return invalid_at(where, "id is missing");
  ASSIGN_OR_RETURN(token.id, read_id(*id, where));
  ASSIGN_OR_RETURN(const bool single_word, bool_field(entry, "single_word", false, where));
  if (single_word) return unimplemented_at(where, "single_word of " + quote(token.content));
  ASSIGN_OR_RETURN(token.lstrip, bool_field(entry, "lstrip", false, where));
  ASSIGN_OR_RETURN(token.rstrip, bool_field(entry, "rstrip", false, where));
  ASSIGN_OR_RETURN(const bool is_special, bool_field(entry, "special", false, where));
  ASSIGN_OR_RETURN(token.normalized, bool_field(entry, "normalized", !is_special, where));
  if (!seen->insert(token.content).second) {
    return invalid_at(where, quote(token.content) + " stands twice");
  }
  const auto known = file->id_of_piece.find(token.content);
  if (known == file->id_of_piece.end()) {
    RETURN_IF_ERROR(add_token(token.content, token.id, where, file));
  } else if (known->second != token.id) {
    return invalid_at(where, quote(token.content) + " has id " + std::to_string(token.id) +
                                 " here and " + std::to_string(known->second) + " in the vocab");
  }
  file->tokens[token.id].is_special = is_special;
  file->added_tokens.push_back(std::move(token));
  return absl::OkStatus();
}

absl::Status read_added_tokens(const Json& document, const std::string& where,
                               TokenizerFile* file) {
  if (find_field(document, "added_tokens") == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Json* entries, array_field(document, "added_tokens", where));
  absl::flat_hash_set<std::string> seen;
  for (size_t i = 0; i < entries->size(); ++i) {
    const std::string entry_where = where + ": added_tokens[" + std::to_string(i) + "]";
    RETURN_IF_ERROR(read_added_token((*entries)[i], entry_where, &seen, file));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerFile> read_tokenizer_json(std::string_view contents,
                                                  const std::string& where) {
  ASSIGN_OR_RETURN(const Json document, parse_json_object(contents, where));
  TokenizerFile file;
  RETURN_IF_ERROR(check_normalizer(document, where));
  RETURN_IF_ERROR(check_decoder(document, where));
  ASSIGN_OR_RETURN(file.steps, read_pre_tokenizer(document, where));
  RETURN_IF_ERROR(read_model(document, where, &file));
  RETURN_IF_ERROR(read_added_tokens(document, where, &file));
  ASSIGN_OR_RETURN(file.template_bos_id, read_post_processor(document, where));
  const int32_t bos_id = file.template_bos_id;
  if (bos_id >= 0 &&
      (static_cast<size_t>(bos_id) >= file.tokens.size() || !file.tokens[bos_id].exists)) {
    return invalid_at(where + ": post_processor", "id " + std::to_string(bos_id) + " has no token");
  }
  return file;
}

}  // namespace conclave
