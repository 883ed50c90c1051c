// Where work runs. Logic cuts its work into independent tasks and hands them to an Executor; it
// never starts a thread. The cut must not change results: a task's output depends on its index
// alone.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace conclave {

class Executor {
 public:
  virtual ~Executor() = default;

  // How many tasks can run at the same time; a hint for how finely to cut.
  virtual int32_t num_threads() const = 0;

  // Calls task(i) once for every i in [0, num_tasks), in any order, several at a time, and returns
  // when all have returned. Called by one thread at a time; a task must not call it again.
  virtual void parallel_for(int64_t num_tasks, absl::FunctionRef<void(int64_t)> task) = 0;
};

// Runs everything in the caller. Has no state, so one serves all and may be used from inside tasks.
class InlineExecutor final : public Executor {
 public:
  int32_t num_threads() const override { return 1; }
  void parallel_for(int64_t num_tasks, absl::FunctionRef<void(int64_t)> task) override {
    for (int64_t i = 0; i < num_tasks; ++i) task(i);
  }
};

Executor* inline_executor();

}  // namespace conclave
