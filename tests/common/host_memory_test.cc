// What we say about memory: something is there, no more of it is free than there is, and sizes read
// the way people write them.

#include "common/host_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <sstream>

namespace conclave {
namespace {

TEST(HostMemoryTest, ThereIsSomeAndNoMoreFreeThanThereIs) {
  const HostMemory memory = host_memory();
  EXPECT_GT(memory.available_bytes, 0u);
  EXPECT_GE(memory.total_bytes, memory.available_bytes);
}

TEST(HostMemoryTest, PagesOfFilesCanBeHadBackWhetherReadOnceOrOften) {
  std::istringstream stat("anon 1\nfile 700\nactive_anon 2\ninactive_file 300\nactive_file 400\n");
  EXPECT_EQ(reclaimable_bytes(stat), 700u);
  std::istringstream nothing("");
  EXPECT_EQ(reclaimable_bytes(nothing), 0u);
}

TEST(HostMemoryTest, FormatsBytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(12), "12 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(71'987), "70.3 KiB");
  EXPECT_EQ(format_bytes(uint64_t{3} << 29), "1.5 GiB");
  EXPECT_EQ(format_bytes(uint64_t{7} << 40), "7.0 TiB");
}

TEST(HostMemoryTest, RoundsUpIntoTheNextUnit) {
  EXPECT_EQ(format_bytes((1u << 20) - 1), "1.0 MiB");
  EXPECT_EQ(format_bytes((uint64_t{1} << 30) - 1), "1.0 GiB");
  EXPECT_EQ(format_bytes(1'048'473), "1023.9 KiB");
}

TEST(HostMemoryTest, HasNoUnitOverTebibytes) {
  EXPECT_EQ(format_bytes(UINT64_MAX), "16777216.0 TiB");
}

}  // namespace
}  // namespace conclave
