// Text to token ids and back, from an unmodified tokenizer.json: byte-level BPE as Hugging Face's
// `tokenizers` computes it. Source: docs/models.md.
//
// encode() takes any bytes: text that is not UTF-8 is INVALID_ARGUMENT naming the offset. Its time
// is linear in the text (times a logarithm), also when the text is one word. Immutable after load,
// so thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave {

class Tokenizer {
 public:
  // Reads `dir`/tokenizer.json and tokenizer_config.json (the latter may be absent). NOT_FOUND
  // where there is no tokenizer.json: such a model serves ids.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> load(const std::string& dir);

  // The same from the files' contents; `config_json` may be empty. `where` names them in messages.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> parse(std::string_view tokenizer_json,
                                                          std::string_view config_json,
                                                          std::string_view where);
  ~Tokenizer();

  struct EncodeOptions {
    bool add_bos = true;             // prepend bos where the tokenizer's config says add_bos_token
    bool match_added_tokens = true;  // false: text that spells a control token stays text
  };
  absl::StatusOr<std::vector<int32_t>> encode(std::string_view text,
                                              const EncodeOptions& options) const;

  // The text of all ids: invalid UTF-8 becomes U+FFFD, ids without a token become nothing.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;

  // The bytes of one token, which may be part of a character; empty for ids without a token and,
  // with `skip_special`, for special tokens.
  std::string_view token_bytes(int32_t id, bool skip_special) const;

  // One more than the largest id that has a token; ids from here on are never sampled.
  int32_t size() const;
  int32_t bos_id() const;  // -1: none
  bool adds_bos() const;

 private:
  struct Parts;
  explicit Tokenizer(std::unique_ptr<Parts> parts);

  std::unique_ptr<const Parts> parts_;
};

}  // namespace conclave
