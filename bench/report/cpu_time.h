// How much of the cores a process has used.
#pragma once

#include <sys/types.h>

namespace conclave {

// User and system time of a process so far, in seconds, to the kernel's tick. 0 for one that is
// gone.
double cpu_seconds(pid_t pid);

// This process, exactly.
double own_cpu_seconds();

}  // namespace conclave
