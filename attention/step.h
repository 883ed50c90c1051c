// One forward pass: T tokens of one or more sequences, each with its place. A value; the walk
// through the layers takes it and changes nothing in it.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/paged_mla.h"

namespace conclave {

// A run of a step's tokens.
struct StepRows {
  int32_t first = 0;
  int32_t count = 0;
};

struct Step {
  std::vector<int32_t> ids;         // [T]
  std::vector<int32_t> positions;   // [T] in its sequence
  std::vector<int32_t> slots;       // [T] in the cache
  std::vector<PagedQuery> queries;  // [T] what each token sees; views of page tables

  int32_t num_tokens() const { return static_cast<int32_t>(ids.size()); }
};

}  // namespace conclave
