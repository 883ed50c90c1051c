#include "model/tokenizer/incremental_decoder.h"

#include "model/tokenizer/utf8.h"

namespace conclave {

std::string IncrementalDecoder::push(int32_t id) {
  held_ += tokenizer_->token_bytes(id, skip_special_);
  std::string text;
  held_.erase(0, append_lossy_utf8(held_, &text));
  return text;
}

std::string IncrementalDecoder::finish() {
  // All that is held is the beginning of one character, so one sign stands for it.
  std::string text(held_.empty() ? "" : kReplacementCharacter);
  held_.clear();
  return text;
}

}  // namespace conclave
