// Decodes a stream of ids without ever emitting half a character.
//
// The pieces that push() and finish() return, joined, are exactly Tokenizer::decode() of all the
// ids. Bytes that may still become a character are held back, at most three. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "model/tokenizer/tokenizer.h"

namespace conclave {

class IncrementalDecoder {
 public:
  IncrementalDecoder(const Tokenizer* tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  // The text that `id` completes; may be empty.
  std::string push(int32_t id);

  // What is still held back, as U+FFFD: no more ids will come.
  std::string finish();

 private:
  const Tokenizer* const tokenizer_;  // outlives this
  const bool skip_special_;
  std::string held_;  // the beginning of a character
};

}  // namespace conclave
