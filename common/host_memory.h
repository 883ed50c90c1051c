// How much memory this process may still take: the machine's MemAvailable, cut by the cgroup's
// limit.
#pragma once

#include <cstdint>
#include <string>

namespace conclave {

struct HostMemory {
  uint64_t total_bytes = 0;      // of the machine or the cgroup, whichever is less
  uint64_t available_bytes = 0;  // without pushing anybody out
};

HostMemory host_memory();

// "1.5 GiB", "70.3 KiB", "12 B".
std::string format_bytes(uint64_t bytes);

}  // namespace conclave
