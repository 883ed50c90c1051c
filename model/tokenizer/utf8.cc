#include "model/tokenizer/utf8.h"

#include <cstdint>

#include "common/check.h"

namespace conclave {
namespace {

// How a character that starts with some byte goes on: `num_bytes` in all, the second of them
// between `second_min` and `second_max`, the others between 0x80 and 0xBF. Unicode, table 3-7.
struct Lead {
  size_t num_bytes;  // 0: no character starts so
  uint8_t second_min = 0x80;
  uint8_t second_max = 0xBF;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

}  // namespace

Utf8Step next_utf8(std::string_view bytes) {
  CHECK(!bytes.empty());
  const Lead lead = lead_of(static_cast<uint8_t>(bytes[0]));
  if (lead.num_bytes == 0) return {Utf8Kind::kInvalid, 1};
  for (size_t i = 1; i < lead.num_bytes; ++i) {
    if (i == bytes.size()) return {Utf8Kind::kIncomplete, i};
    const uint8_t byte = static_cast<uint8_t>(bytes[i]);
    const uint8_t min = i == 1 ? lead.second_min : 0x80;
    const uint8_t max = i == 1 ? lead.second_max : 0xBF;
    if (byte < min || byte > max) return {Utf8Kind::kInvalid, i};
  }
  return {Utf8Kind::kCharacter, lead.num_bytes};
}

std::optional<size_t> find_invalid_utf8(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Step step = next_utf8(bytes.substr(at));
    if (step.kind != Utf8Kind::kCharacter) return at;
    at += step.num_bytes;
  }
  return std::nullopt;
}

size_t append_lossy_utf8(std::string_view bytes, std::string* text) {
  size_t at = 0;
  size_t num_appended = 0;  // good characters are appended by the run
  while (at < bytes.size()) {
    const Utf8Step step = next_utf8(bytes.substr(at));
    if (step.kind == Utf8Kind::kIncomplete) break;
    if (step.kind == Utf8Kind::kInvalid) {
      text->append(bytes.substr(num_appended, at - num_appended));
      text->append(kReplacementCharacter);
      num_appended = at + step.num_bytes;
    }
    at += step.num_bytes;
  }
  text->append(bytes.substr(num_appended, at - num_appended));
  return at;
}

}  // namespace conclave
