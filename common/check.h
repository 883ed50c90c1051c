// CHECK: what only we can do wrong. A broken invariant stops the process where it is seen, in every
// build, with the condition and the place; what the world can do wrong is an absl::Status instead.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace conclave {

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace conclave

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::conclave::check_failed(#condition, __FILE__, __LINE__))
