// The routed half of an MoE layer, as the walk through the layers sees it:
//
//   out[t, :] = sum over the K experts e of token t, ascending, of weight[e] * FFN_e(wire(x[t, :]))
//
// begin() starts the work and returns, so that the caller can compute the shared expert meanwhile;
// finish() waits and gives the result. This is the seam of the two routing places: ExpertLayer
// (router/expert_layer.h) gates, dispatches and combines where it stands; the remote one
// (router/wire/) sends the rows to the gateway, where an ExpertLayer does so.
//
// One thread. What goes wrong with some rows ends in MoeStep::faults and leaves the other rows
// alone; a Status means that the whole step has no answer. In both, UNAVAILABLE means that the same
// rows may fare better later: a lost server, a leg that failed, an expert that nobody holds now.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "common/rows.h"

namespace conclave {

// What went wrong with one token; the others are fine.
struct RowFault {
  int32_t token_idx = 0;
  absl::Status status;
};

// One layer's work between begin() and finish(). Belongs to the layer that made it and keeps its
// memory from use to use; several of them let several steps be under way at once.
class MoeStep {
 public:
  virtual ~MoeStep() = default;

  int32_t layer_idx = 0;
  std::vector<RowFault> faults;  // of this layer, filled by begin() and finish()
};

class MoeLayer {
 public:
  virtual ~MoeLayer() = default;

  virtual std::unique_ptr<MoeStep> new_step() = 0;

  // `step` is one of new_step(). After an OK, finish() is called once, and `x` stays as it is until
  // it returns.
  virtual absl::Status begin(int32_t layer_idx, Rows<const float> x, MoeStep* step) = 0;
  virtual absl::Status finish(MoeStep* step, Rows<float> out) = 0;
};

}  // namespace conclave
