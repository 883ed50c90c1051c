// Reads tokenizer.json: byte-level BPE or an error that names the file and the thing.
//
// Nothing that could change ids or text is skipped over: an unknown model, normalizer,
// pre-tokenizer, post-processor or decoder is UNIMPLEMENTED, a contradiction INVALID_ARGUMENT.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/pre_tokenizer.h"

namespace conclave {

struct TokenizerFile {
  struct Token {
    std::string bytes;  // what it decodes to
    bool exists = false;
    bool is_special = false;
  };
  std::vector<Token> tokens;                              // by id; the last one exists
  absl::flat_hash_map<std::string, int32_t> id_of_piece;  // as the file spells them
  BpeRules rules;
  std::vector<AddedToken> added_tokens;
  PreTokenizerSteps steps;
  int32_t template_bos_id = -1;  // what the post-processor puts before the text, -1: nothing
};

absl::StatusOr<TokenizerFile> read_tokenizer_json(std::string_view contents,
                                                  const std::string& where);

}  // namespace conclave
