// The cores that this process may use, and threads that stay on one of them.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace conclave {

// Cores this process may really use: the affinity mask, cut by the cgroup's CPU quota. At least 1.
int32_t num_usable_cores();

// The numbers of the cores in the calling thread's affinity mask, ascending. Empty where the
// machine has more cores than a mask has bits.
std::vector<int32_t> cores_of_mask();

// From now on `thread` runs on `core` alone.
absl::Status pin_thread(pthread_t thread, int32_t core);

}  // namespace conclave
