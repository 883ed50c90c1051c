#include "model/tokenizer/byte_alphabet.h"

#include <array>

namespace conclave {
namespace {

constexpr int32_t kNumBytes = 256;
constexpr int32_t kNumUnits = 0x100 + 68;  // code points from 0 on; not all of them are units

struct Alphabet {
  std::array<int32_t, kNumBytes> unit_of_byte{};
  std::array<int32_t, kNumUnits> byte_of_unit{};  // -1: no unit
};

constexpr bool is_printable(int32_t byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (int32_t& byte : alphabet.byte_of_unit) byte = -1;
  int32_t next_unit = 0x100;
  for (int32_t byte = 0; byte < kNumBytes; ++byte) {
    const int32_t unit = is_printable(byte) ? byte : next_unit++;
    alphabet.unit_of_byte[byte] = unit;
    alphabet.byte_of_unit[unit] = byte;
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::string unit_of_byte(uint8_t byte) {
  const int32_t unit = kAlphabet.unit_of_byte[byte];
  if (unit < 0x80) return std::string(1, static_cast<char>(unit));
  return {static_cast<char>(0xC0 | (unit >> 6)), static_cast<char>(0x80 | (unit & 0x3F))};
}

std::optional<std::string> bytes_of_units(std::string_view piece) {
  std::string bytes;
  for (size_t i = 0; i < piece.size(); ++i) {
    int32_t unit = static_cast<uint8_t>(piece[i]);
    if (unit >= 0x80) {
      // Units take two bytes at most; a longer character is none.
      if (unit < 0xC2 || unit > 0xDF || i + 1 == piece.size()) return std::nullopt;
      unit = ((unit & 0x1F) << 6) | (static_cast<uint8_t>(piece[++i]) & 0x3F);
    }
    if (unit >= kNumUnits || kAlphabet.byte_of_unit[unit] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kAlphabet.byte_of_unit[unit]));
  }
  return bytes;
}

bool occurs_in_utf8(uint8_t byte) { return byte != 0xC0 && byte != 0xC1 && byte < 0xF5; }

}  // namespace conclave
