// The alphabet of byte-level BPE: every byte has a printable character, its *unit*, and the pieces
// in tokenizer.json are spelt in units. Source: docs/models.md.
//
//   33-126, 161-172, 174-255   the code point of the same number
//   the other 68, in order     U+0100, U+0101, ...    (space is U+0120, newline is U+010A)
//
// Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace conclave {

// The unit of `byte`, in UTF-8.
std::string unit_of_byte(uint8_t byte);

// The bytes that `piece` spells; nothing where one of its characters is no unit.
std::optional<std::string> bytes_of_units(std::string_view piece);

// False for the 13 bytes that no UTF-8 text holds: C0, C1, F5 to FF.
bool occurs_in_utf8(uint8_t byte);

}  // namespace conclave
