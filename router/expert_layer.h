// The routed half of an MoE layer, done here: gate, dispatch, wait, combine.
//
// A leg that fails in a way that another try may mend (no connection, no answer in time, a damaged
// frame, a full queue, an expert that has moved) goes to other holders of its experts at once, and
// so does one whose answer is not finite; for legs are pure, another holder says the same bits. Of
// one that failed those tokens go for which others hold everything that they asked of it; an answer
// that is not finite goes to others as a whole or not at all.
//
// A leg that is late (ReplicaHealth::hedge_delay()) and could go to others as a whole is hedged:
// they get its picks as well, and the first complete answer counts, its own or theirs together. A
// hedge that fails ends that race, and the leg is waited for on. If it fails itself, its hedges
// take its place. Hedges are not hedged. A leg that is away for far longer than its server used to
// take (ReplicaHealth::patience()) is given up where it could go to others as a whole.
//
// Where there is no other holder, or none that can do better, the tokens are faulted: with
// UNAVAILABLE, as by an expert that nobody holds, or with INTERNAL for answers that are not finite,
// as for such scores. A server that did not answer in time is not asked again for as long, or every
// layer of a step would wait for it anew. One that leaves the cluster while a leg is away is not
// waited for any longer, and not asked again before the next placement.
//
// One thread, which also sets the placement, between steps.
#pragma once

#include <cstdint>
#include <deque>
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
#include "router/leg_detour.h"
#include "router/moe_layer.h"
#include "router/newest_members.h"
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
  absl::Time hedge_at = absl::InfiniteFuture();  // it is late then, and not hedged yet
  std::vector<size_t> hedges;      // legs with its picks; while it is not known who is first
  std::optional<size_t> hedge_of;  // the leg whose picks it has; as long
  bool is_outrun = false;          // others were first
  bool is_settled = false;         // it is done, and what followed from that was done
};

// What ExpertLayer::new_step() makes; everything in it can be looked at until the next begin().
struct ExpertStep final : MoeStep {
  TopK top_k;
  DispatchPlan plan;           // legs to others are behind those whose picks they have; of these
                               // only rows are left that nobody else could answer
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

// What became of a leg whose picks were sent to others as well.
enum class HedgeOutcome : uint8_t {
  kWon,       // the others answered first; the leg was given up
  kLost,      // the leg itself answered first
  kTookOver,  // the leg failed, or was waited for long enough: the others are what is waited for
  kDropped,   // one of the others failed; the leg was waited for on
};
inline constexpr HedgeOutcome kHedgeOutcomes[] = {HedgeOutcome::kWon, HedgeOutcome::kLost,
                                                  HedgeOutcome::kTookOver, HedgeOutcome::kDropped};

// Called on the layer's thread.
class LegObserver {
 public:
  virtual ~LegObserver() = default;

  // Every leg that was sent, once. CANCELLED: others that had its picks were first, or failed.
  virtual void on_leg(const LegReport& report) = 0;

  // The picks of a leg that was reported go to other holders, or hedges took its place.
  virtual void on_move(std::string_view transport) = 0;

  // A hedged leg, when it is known who was first. Both name the transport of the leg itself.
  virtual void on_hedge(std::string_view transport, HedgeOutcome outcome) = 0;
};

class ExpertLayer final : public MoeLayer {
 public:
  struct Options {
    DType wire_out = DType::kBF16;   // rows to the experts: f32, bf16 or fp8
    DType wire_back = DType::kBF16;  // rows from the experts: f32 or bf16
    int32_t max_tokens = 0;          // rows of the largest step
    absl::Duration leg_timeout = absl::Seconds(10);
  };
  // All outlive the layer; the last two may be null.
  struct Parts {
    const ModelConfig* config = nullptr;
    std::vector<GateWeights> gates;  // [L]; without weight for dense layers
    Transport* transport = nullptr;
    Executor* executor = nullptr;
    const Clock* clock = nullptr;  // the transport's
    LegObserver* observer = nullptr;
    const NewestMembers* members = nullptr;  // what control says while a step waits
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
  const ReplicaHealth& health() const { return health_; }

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
  bool settle_done_legs(ExpertStep* step);
  void settle(size_t leg_idx, ExpertStep* step);
  void account(size_t leg_idx, const ExpertStep& step);
  LegDetour detour_of(size_t leg_idx, const ExpertStep& step, bool may_ask_avoided = true) const;
  void send_detour(DispatchPlan plan, ExpertStep* step);
  bool move_leg(size_t leg_idx, ExpertStep* step);
  void look_at_late_legs(ExpertStep* step);
  void note_who_left(ExpertStep* step);
  bool end_legs_to_the_gone(ExpertStep* step);
  bool is_gone(ServerId server) const;
  void look_at_overdue_leg(size_t leg_idx, ExpertStep* step);
  void give_up(size_t leg_idx, absl::Status status, ExpertStep* step);

  // expert_hedges.cc
  void hedge(size_t leg_idx, ExpertStep* step);
  void settle_hedge(size_t leg_idx, ExpertStep* step);
  void settle_hedged_leg(size_t leg_idx, ExpertStep* step);
  std::vector<size_t> end_race(size_t leg_idx, HedgeOutcome outcome, ExpertStep* step) const;
  void retire(size_t leg_idx, ExpertStep* step);
  bool has_whole_answer(size_t leg_idx, const ExpertStep& step) const;

  const Options options_;
  const int32_t hidden_dim_;  // D
  Placement placement_;
  Transport* const transport_;  // these outlive this
  const Clock* const clock_;
  LegObserver* const observer_;
  const NewestMembers* const members_;
  ReplicaHealth health_;
  std::vector<ServerId> gone_;                // left the cluster since the placement was set
  std::vector<GateWeights> gate_weights_;     // [L]
  std::vector<std::unique_ptr<Gate>> gates_;  // [L], null for dense layers
};

// The gates of a trunk, layer by layer.
std::vector<GateWeights> gate_weights(const TrunkWeights& trunk);

}  // namespace conclave
