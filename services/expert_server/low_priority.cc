#include "services/expert_server/low_priority.h"

#include <sys/resource.h>
#include <unistd.h>

#include <thread>

#include "services/server/log.h"

namespace conclave {
namespace {

constexpr int kNiceness = 10;

}  // namespace

// Of this thread alone: Linux counts threads as processes here.
void lower_priority() {
  if (setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNiceness) != 0) {
    log_warn("experts are loaded at the priority of the rest");
  }
}

void run_at_low_priority(absl::FunctionRef<void()> what) {
  std::thread thread([what] {
    lower_priority();
    what();
  });
  thread.join();
}

}  // namespace conclave
