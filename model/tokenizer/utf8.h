// UTF-8, strictly: no overlong forms, no surrogates, nothing over U+10FFFF.
//
// What is not UTF-8 is cut by the standard practice of maximal subparts: the longest beginning of a
// character, or else one byte, is one error and becomes one U+FFFD. Pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace conclave {

enum class Utf8Kind { kCharacter, kInvalid, kIncomplete };

struct Utf8Step {
  Utf8Kind kind;
  size_t num_bytes;  // >= 1; for kIncomplete all that is left, at most three
};

// What stands at the beginning of `bytes`. kIncomplete: more bytes could make it a character.
// REQUIRES: !bytes.empty()
Utf8Step next_utf8(std::string_view bytes);

// The offset of the first byte that is not part of a character; nothing where all are.
std::optional<size_t> find_invalid_utf8(std::string_view bytes);

// Appends `bytes` to `text` with U+FFFD for every error, and returns how many bytes that took: all
// but an incomplete character at the end.
size_t append_lossy_utf8(std::string_view bytes, std::string* text);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

}  // namespace conclave
