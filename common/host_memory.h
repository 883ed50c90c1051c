// The machine's memory: how much this process may still take, which is MemAvailable cut by the
// cgroup's limit, and what becomes of what it frees.
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

// From now on each of malloc()'s arenas keeps up to 128 MiB that are freed at its end instead of
// giving them back to the system, in blocks of up to 32 MiB, glibc's most. For processes that take
// and free the same large buffers again and again: each page that is given back costs a fault when
// it is taken again. Call it before there are threads.
void keep_freed_memory();

// Gives what is free back all the same, wherever it lies: before memory is measured. Takes as long
// as the heap is large.
void give_back_freed_memory();

// "1.5 GiB", "70.3 KiB", "12 B".
std::string format_bytes(uint64_t bytes);

}  // namespace conclave
