// Experts are loaded on threads that yield to others: a server that is back, or takes experts over,
// reads and converts weights on cores that its neighbours, and its own engine, compute on.
#pragma once

#include "absl/functional/function_ref.h"

namespace conclave {

// From now on the calling thread computes when others leave it time. For good: without privileges
// no thread gets its priority back.
void lower_priority();

// Runs `what` on such a thread and returns when it has returned.
void run_at_low_priority(absl::FunctionRef<void()> what);

}  // namespace conclave
