// The routed half of an MoE layer: gate, dispatch, wait, combine.
//
//   out[t, :] = sum over the K experts e of token t, ascending, of weight[e] * FFN_e(wire(x[t, :]))
//
// begin() sends the legs and returns, so that the caller can compute the shared expert meanwhile;
// finish() waits and combines. The MoeStep between them is the caller's and may be used again. This
// is the seam of the two routing places: this file's ExpertLayer stands where the gate is; a
// remote one would send the rows to the gateway.
//
// One thread. What goes wrong with some rows (scores or answers that are not finite, a leg that
// failed, an expert that nobody holds) ends in MoeStep::faults and leaves the other rows alone; a
// Status means that the whole step has no answer. `x` stays as it is until finish() returns, which
// is called once after every begin() that was OK.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/executor.h"
#include "common/rows.h"
#include "model/config/model_config.h"
#include "model/weights/weights.h"
#include "router/dispatch_plan.h"
#include "router/gate.h"
#include "router/placement.h"
#include "router/transport.h"

namespace conclave {

// What went wrong with one token; the others are fine.
struct RowFault {
  int32_t token_idx = 0;
  absl::Status status;
};

// One layer's dispatch between begin() and finish(). Keeps its memory from use to use.
struct MoeStep {
  int32_t layer_idx = 0;
  TopK top_k;
  DispatchPlan plan;
  std::vector<std::vector<std::byte>> sent;  // [legs] rows out, packed
  std::vector<LegReply> replies;             // [legs]
  std::vector<float> said;                   // the replies' rows in f32, leg after leg
  std::vector<RowFault> faults;              // of this layer, filled by begin() and finish()
};

class MoeLayer {
 public:
  virtual ~MoeLayer() = default;

  virtual absl::Status begin(int32_t layer_idx, Rows<const float> x, MoeStep* step) = 0;
  virtual absl::Status finish(MoeStep* step, Rows<float> out) = 0;
};

class ExpertLayer final : public MoeLayer {
 public:
  struct Options {
    DType wire_out = DType::kBF16;   // rows to the experts: f32 or bf16
    DType wire_back = DType::kBF16;  // rows from the experts
    int32_t max_tokens = 0;          // rows of the largest step
  };

  // `trunk`, `transport` and `executor` outlive this.
  static absl::StatusOr<std::unique_ptr<ExpertLayer>> create(
      const ModelConfig& config, const TrunkWeights& trunk, Placement placement,
      Transport* transport, Executor* executor, const Options& options);

  absl::Status begin(int32_t layer_idx, Rows<const float> x, MoeStep* step) override;
  absl::Status finish(MoeStep* step, Rows<float> out) override;

 private:
  ExpertLayer(const ModelConfig& config, Placement placement, Transport* transport,
              const Options& options);

  void drop_uncovered(MoeStep* step) const;
  void send_leg(const Leg& leg, Rows<const float> x, size_t leg_idx, MoeStep* step);
  absl::Status check_reply(const Leg& leg, const LegReply& reply, int32_t layer_idx) const;
  void unpack_reply(size_t leg_idx, Rows<float> said, MoeStep* step) const;

  const Options options_;
  const int32_t hidden_dim_;  // D
  const Placement placement_;
  Transport* const transport_;                // outlives this
  std::vector<std::unique_ptr<Gate>> gates_;  // [L], null for dense layers
};

}  // namespace conclave
