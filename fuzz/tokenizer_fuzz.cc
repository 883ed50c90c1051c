// tokenizer.json from anywhere: parse() answers, and what it accepts encodes and decodes.
//
// The input is the file, and behind its first NUL byte, if any, a text to encode.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/check.h"
#include "model/tokenizer/incremental_decoder.h"
#include "model/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using conclave::Tokenizer;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t file_bytes = std::min(input.find('\0'), input.size());
  const auto tokenizer = Tokenizer::parse(input.substr(0, file_bytes), "", "fuzz");
  if (!tokenizer.ok()) return 0;
  std::string text = "The 12 kings'll say: 'hello'\n\n   \u00e9\u4e2d\U0001F600 ";
  // Short, because a pattern may be as slow as it likes.
  if (file_bytes < size) text += input.substr(file_bytes + 1, 64);
  const auto ids = (*tokenizer)->encode(text, {});
  if (!ids.ok()) return 0;
  conclave::IncrementalDecoder decoder(tokenizer->get(), /*skip_special=*/false);
  std::string pieces;
  for (int32_t id : *ids) pieces += decoder.push(id);
  pieces += decoder.finish();
  CHECK(pieces == (*tokenizer)->decode(*ids, /*skip_special=*/false));
  return 0;
}
