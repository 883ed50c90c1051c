#include "common/usable_cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/str_format.h"

namespace conclave {
namespace {

// cgroup v2 says "max 100000" or "<quota> <period>"; absent outside a cgroup.
int32_t cgroup_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return INT32_MAX;
  const double cores = std::atof(quota.c_str()) / period;
  return std::max(1, static_cast<int32_t>(std::ceil(cores)));
}

}  // namespace

int32_t num_usable_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  const bool known = sched_getaffinity(0, sizeof(mask), &mask) == 0;
  // It fails where the machine has more cores than the mask has bits: no reason to use one only.
  const int32_t affinity =
      known ? CPU_COUNT(&mask) : static_cast<int32_t>(std::thread::hardware_concurrency());
  return std::max(1, std::min(affinity, cgroup_cores()));
}

std::vector<int32_t> cores_of_mask() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  std::vector<int32_t> cores;
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) return cores;
  for (int32_t core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &mask)) cores.push_back(core);
  }
  return cores;
}

absl::Status pin_thread(pthread_t thread, int32_t core) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(core, &mask);
  const int error = pthread_setaffinity_np(thread, sizeof(mask), &mask);
  if (error == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("cannot pin a thread to core %d: %s", core, std::strerror(error)));
}

}  // namespace conclave
