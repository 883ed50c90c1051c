// tokenizer.json and tokenizer_config.json from anywhere: parse() answers, and what it accepts
// encodes and decodes.
//
// The input is up to three parts with NUL bytes between: tokenizer.json, a text to encode, and
// tokenizer_config.json.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/check.h"
#include "model/tokenizer/incremental_decoder.h"
#include "model/tokenizer/tokenizer.h"

namespace {

// What stands before the next NUL byte, which goes away with it.
std::string_view take_part(std::string_view* input) {
  const size_t end = std::min(input->find('\0'), input->size());
  const std::string_view part = input->substr(0, end);
  input->remove_prefix(std::min(end + 1, input->size()));
  return part;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using conclave::Tokenizer;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view tokenizer_json = take_part(&input);
  const std::string_view text_part = take_part(&input);
  const auto tokenizer = Tokenizer::parse(tokenizer_json, input, "fuzz");
  if (!tokenizer.ok()) return 0;
  std::string text = "The 12 kings'll say: 'hello'\n\n   \u00e9\u4e2d\U0001F600 ";
  // Short, because a pattern may be as slow as it likes.
  text += text_part.substr(0, 64);
  const auto ids = (*tokenizer)->encode(text, {});
  if (!ids.ok()) return 0;
  conclave::IncrementalDecoder decoder(tokenizer->get(), /*skip_special=*/false);
  std::string pieces;
  for (int32_t id : *ids) pieces += decoder.push(id);
  pieces += decoder.finish();
  CHECK(pieces == (*tokenizer)->decode(*ids, /*skip_special=*/false));
  return 0;
}
