#include "common/host_memory.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>

#include "absl/strings/str_format.h"
#include "common/check.h"

namespace conclave {
namespace {

// /proc/meminfo lines read "MemAvailable:   12345 kB".
uint64_t meminfo_bytes(const std::string& wanted) {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::string unit;
  uint64_t kilobytes = 0;
  while (file >> key >> kilobytes) {
    std::getline(file, unit);
    if (key == wanted) return kilobytes * 1024;
  }
  return 0;
}

// A number, or nothing where the file is absent or says "max".
std::optional<uint64_t> cgroup_bytes(const char* path) {
  std::ifstream file(path);
  uint64_t bytes = 0;
  if (!(file >> bytes)) return std::nullopt;
  return bytes;
}

}  // namespace

uint64_t reclaimable_bytes(std::istream& memory_stat) {
  std::string key;
  uint64_t bytes = 0;
  uint64_t sum = 0;
  while (memory_stat >> key >> bytes) {
    if (key == "inactive_file" || key == "active_file") sum += bytes;
  }
  return sum;
}

HostMemory host_memory() {
  HostMemory memory{.total_bytes = meminfo_bytes("MemTotal:"),
                    .available_bytes = meminfo_bytes("MemAvailable:")};
  const std::optional<uint64_t> limit = cgroup_bytes("/sys/fs/cgroup/memory.max");
  if (!limit) return memory;
  const uint64_t current = cgroup_bytes("/sys/fs/cgroup/memory.current").value_or(0);
  std::ifstream memory_stat("/sys/fs/cgroup/memory.stat");
  const uint64_t used = current - std::min(current, reclaimable_bytes(memory_stat));
  memory.total_bytes = std::min(memory.total_bytes, *limit);
  memory.available_bytes = std::min(memory.available_bytes, *limit > used ? *limit - used : 0);
  return memory;
}

void keep_freed_memory() {
  CHECK(mallopt(M_MMAP_THRESHOLD, 32 << 20) == 1);
  CHECK(mallopt(M_TRIM_THRESHOLD, 128 << 20) == 1);
}

void give_back_freed_memory() { malloc_trim(0); }

std::string format_bytes(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return absl::StrFormat("%d B", bytes);
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {  // would print as 1024.0
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

}  // namespace conclave
