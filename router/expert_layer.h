// The routed half of an MoE layer, done here: gate, dispatch, wait, combine.
//
// A leg that fails in a way that another try may mend (no connection, no answer in time, a damaged
// frame, a full queue, an expert that has moved) goes to other holders of its experts at once, and
// so does one whose answer is not finite; for legs are pure, another holder says the same bits. A
// server that has other holders beside it is given up when it takes far longer than it used to
// (ReplicaHealth::patience()).
//
// Where there is no other holder, or none that can do better, the tokens are faulted: with
// UNAVAILABLE, as by an expert that nobody holds, or with INTERNAL for answers that are not finite,
// as for such scores. A server that did not answer in time is not asked again for as long, or every
// layer of a step would wait for it anew.
//
// One thread, which also sets the placement, between steps.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/executor.h"
#include "model/config/model_config.h"
#include "model/weights/weights.h"
#include "router/dispatch_plan.h"
#include "router/gate.h"
#include "router/moe_layer.h"
#include "router/placement.h"
#include "router/replica_health.h"
#include "router/transport.h"

namespace conclave {

// A leg between its sending and the end of its step.
struct SentLeg {
  LegReply reply;
  uint64_t bytes_out = 0;
  absl::Time sent_at;
  absl::Time deadline;
  bool is_settled = false;  // it is done, and what followed from that was done
};

// What ExpertLayer::new_step() makes; everything in it can be looked at until the next begin().
struct ExpertStep final : MoeStep {
  TopK top_k;
  DispatchPlan plan;           // a leg that went elsewhere is empty; those instead of it are behind
  std::deque<SentLeg> sent;    // [legs] their replies stay where they are
  std::vector<float> said;     // the replies' rows in f32, leg after leg
  Rows<const float> x;         // the layer's input
  absl::Time deadline;         // of the whole step
  std::vector<ServerId> lost;  // servers that are asked no more in this step
};

// One leg that is over, for metrics.
struct LegReport {
  ServerId server{};
  int32_t layer_idx = 0;
  int32_t num_rows = 0;
  int32_t num_picks = 0;
  uint64_t bytes_out = 0;
  uint64_t bytes_back = 0;
  absl::Duration latency;  // from send to the end of the wait that brought it
  absl::Status status;
  std::string_view transport;  // LegReply::via
};

// Called on the layer's thread.
class LegObserver {
 public:
  virtual ~LegObserver() = default;
  virtual void on_leg(const LegReport& report) = 0;

  // The picks of a leg that was reported go to other holders.
  virtual void on_move(std::string_view transport) = 0;
};

class ExpertLayer final : public MoeLayer {
 public:
  struct Options {
    DType wire_out = DType::kBF16;   // rows to the experts: f32, bf16 or fp8
    DType wire_back = DType::kBF16;  // rows from the experts: f32 or bf16
    int32_t max_tokens = 0;          // rows of the largest step
    absl::Duration leg_timeout = absl::Seconds(10);
  };
  // All outlive the layer; the observer may be null.
  struct Parts {
    const ModelConfig* config = nullptr;
    std::vector<GateWeights> gates;  // [L]; without weight for dense layers
    Transport* transport = nullptr;
    Executor* executor = nullptr;
    const Clock* clock = nullptr;  // the transport's
    LegObserver* observer = nullptr;
  };

  // INVALID_ARGUMENT for types that rows do not travel in.
  static absl::StatusOr<std::unique_ptr<ExpertLayer>> create(const Parts& parts,
                                                             Placement placement,
                                                             const Options& options);

  // Bytes that a layer and one step of `max_tokens` rows take when they are at their largest: gate
  // scores, rows out, rows back and their f32 copies.
  static uint64_t num_bytes(const ModelConfig& config, int32_t max_tokens);

  // Not between begin() and finish() of any step.
  void set_placement(Placement placement);
  const Placement& placement() const { return placement_; }

  std::unique_ptr<MoeStep> new_step() override;
  absl::Status begin(int32_t layer_idx, Rows<const float> x, MoeStep* step) override;
  absl::Status finish(MoeStep* step, Rows<float> out) override;

 private:
  ExpertLayer(const Parts& parts, Placement placement, const Options& options);

  void drop_uncovered(std::span<const ServerId> home, ExpertStep* step) const;
  void unpack_answers(ExpertStep* step, std::vector<size_t>* sick_legs) const;
  bool unpack_answer(size_t leg_idx, Rows<float> said, ExpertStep* step) const;
  absl::Status check_reply(const Leg& leg, const LegReply& reply, int32_t layer_idx) const;

  // expert_legs.cc
  void send_legs(size_t first, ExpertStep* step);
  void send_leg(size_t leg_idx, ExpertStep* step);
  absl::Time deadline_of(const Leg& leg, const ExpertStep& step) const;
  void wait_for_legs(ExpertStep* step);
  void settle(size_t leg_idx, ExpertStep* step);
  std::optional<DispatchPlan> plan_elsewhere(const Leg& leg, const ExpertStep& step) const;
  bool move_leg(size_t leg_idx, ExpertStep* step);
  void give_up_overdue(ExpertStep* step);
  void report(size_t leg_idx, const ExpertStep& step) const;

  const Options options_;
  const int32_t hidden_dim_;  // D
  Placement placement_;
  Transport* const transport_;  // these outlive this
  const Clock* const clock_;
  LegObserver* const observer_;
  ReplicaHealth health_;
  std::map<ServerId, absl::Time> silent_until_;  // servers that let a step's deadline pass
  std::vector<GateWeights> gate_weights_;        // [L]
  std::vector<std::unique_ptr<Gate>> gates_;     // [L], null for dense layers
};

// The gates of a trunk, layer by layer.
std::vector<GateWeights> gate_weights(const TrunkWeights& trunk);

}  // namespace conclave
