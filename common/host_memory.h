// How much memory this process may still take: the machine's MemAvailable, cut by the cgroup's
// limit.
#pragma once

#include <cstdint>
#include <istream>
#include <string>

namespace conclave {

struct HostMemory {
  uint64_t total_bytes = 0;      // of the machine or the cgroup, whichever is less
  uint64_t available_bytes = 0;  // without pushing anybody out
};

HostMemory host_memory();

// Of a cgroup's memory.stat, whose lines read "inactive_file 12345": the pages of files, which
// count as used until somebody needs the room. Active ones too: they are only those that were read
// more than once, such as a checkpoint that is opened again, and the kernel gives them up as well
// before it refuses memory. Without them such a checkpoint would look like a full house.
uint64_t reclaimable_bytes(std::istream& memory_stat);

// "1.5 GiB", "70.3 KiB", "12 B".
std::string format_bytes(uint64_t bytes);

}  // namespace conclave
