// What the checksum must keep: the known value of the known text, and the same sum however the
// bytes are cut.

#include "router/wire/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string_view>
#include <vector>

namespace conclave {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Crc32cTest, KnownValues) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c({}), 0u);
  const std::vector<std::byte> zeros(32);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(zeros), 0x8A9136AAu);
}

TEST(Crc32cTest, TheSameHoweverTheBytesAreCut) {
  std::mt19937 rng(1);
  std::vector<std::byte> bytes(1000);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng());
  const std::span<const std::byte> all(bytes);
  const uint32_t whole = crc32c(all);
  for (size_t cut = 0; cut <= all.size(); cut += 37) {
    EXPECT_EQ(crc32c(all.subspan(cut), crc32c(all.first(cut))), whole) << cut;
  }
}

}  // namespace
}  // namespace conclave
