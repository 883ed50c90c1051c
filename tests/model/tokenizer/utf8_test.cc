// Errors are cut by maximal subparts (Unicode, chapter 3, table 3-8 and around it), and units and
// bytes are one to one.
#include "model/tokenizer/utf8.h"

#include <gtest/gtest.h>

#include <set>

#include "model/tokenizer/byte_alphabet.h"

namespace conclave {
namespace {

std::string lossy(std::string_view bytes) {
  std::string text;
  const size_t num_decoded = append_lossy_utf8(bytes, &text);
  EXPECT_LE(bytes.size() - num_decoded, 3);
  return text + (num_decoded < bytes.size() ? "~" : "");
}

TEST(Utf8, GoodCharactersStay) {
  for (std::string_view good : {"", "a", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000",
                                "\uffff", "\U00010000", "\U0010ffff"}) {
    EXPECT_EQ(lossy(good), good);
    EXPECT_EQ(find_invalid_utf8(good), std::nullopt);
  }
}

TEST(Utf8, EveryMaximalSubpartIsOneSign) {
  const std::string f = "\uFFFD";
  EXPECT_EQ(lossy("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), f + f + f + f + f + f + f + f + "A");
  EXPECT_EQ(lossy("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), f + f + f + f + f + f + f + f + "A");
  EXPECT_EQ(lossy("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), f + f + f + f + f + "A" + f + f + "B");
  EXPECT_EQ(lossy("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), f + f + f + f + "A");
  EXPECT_EQ(find_invalid_utf8("ab\xE1\x80"), 2);
}

TEST(Utf8, WhatMayBecomeACharacterIsKept) {
  EXPECT_EQ(lossy("a\xF0"), "a~");
  EXPECT_EQ(lossy("a\xF0\x90"), "a~");
  EXPECT_EQ(lossy("a\xF0\x90\x80"), "a~");
  EXPECT_EQ(lossy("a\xE0\x80"), "a\uFFFD\uFFFD");
}

TEST(ByteAlphabet, UnitsAndBytesAreOneToOne) {
  std::set<std::string> units;
  for (int32_t byte = 0; byte < 256; ++byte) {
    const std::string unit = unit_of_byte(static_cast<uint8_t>(byte));
    units.insert(unit);
    EXPECT_EQ(bytes_of_units(unit), std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(units.size(), 256);
  EXPECT_EQ(unit_of_byte(' '), "Ġ");
  EXPECT_EQ(unit_of_byte('\n'), "Ċ");
  EXPECT_EQ(bytes_of_units("ĠtheĊ"), " the\n");
  for (std::string_view other : {" ", "\n", "\u00ad", "\u0144", "▁", "a｜", "\U0001F600"}) {
    EXPECT_EQ(bytes_of_units(other), std::nullopt);
  }
}

}  // namespace
}  // namespace conclave
