#include "router/expert_layer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "kernels/row_codec.h"
#include "kernels/vector_ops.h"
#include "router/leg_status.h"
#include "router/replica_choice.h"

namespace conclave {

namespace {

// While the step computes, nobody looks at what has come, and over gRPC not even large frames move:
// no leg is late before it was waited for.
void begin_to_wait(absl::Time now, ExpertStep* step) {
  for (SentLeg& sent : step->sent) {
    if (sent.reply.done) continue;
    sent.hedge_at = std::max(sent.hedge_at, now + ReplicaHealth::kLeastHedgeDelay);
    sent.deadline = std::max(sent.deadline, now + ReplicaHealth::kLeastPatience);
    sent.deadline = std::min(sent.deadline, step->deadline);
  }
}

}  // namespace

std::vector<GateWeights> gate_weights(const TrunkWeights& trunk) {
  std::vector<GateWeights> gates;
  for (const LayerWeights& layer : trunk.layers) gates.push_back(layer.gate);
  return gates;
}

ExpertLayer::ExpertLayer(const Parts& parts, Placement placement, const Options& options)
    : options_(options),
      hidden_dim_(parts.config->hidden_dim),
      placement_(std::move(placement)),
      transport_(parts.transport),
      clock_(parts.clock),
      observer_(parts.observer),
      members_(parts.members),
      health_(parts.clock),
      gate_weights_(parts.gates) {}

absl::StatusOr<std::unique_ptr<ExpertLayer>> ExpertLayer::create(const Parts& parts,
                                                                 Placement placement,
                                                                 const Options& options) {
  if (!is_row_type(options.wire_out) || !is_reply_type(options.wire_back)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "rows out as %s and back as %s; f32, bf16 and fp8 go out, f32 and bf16 come back",
        dtype_name(options.wire_out), dtype_name(options.wire_back)));
  }
  std::unique_ptr<ExpertLayer> layer(new ExpertLayer(parts, std::move(placement), options));
  for (const GateWeights& weights : layer->gate_weights_) {
    std::unique_ptr<Gate> gate;
    if (weights.weight.data != nullptr) {
      ASSIGN_OR_RETURN(
          gate, Gate::create(parts.config->moe.gate, weights, options.max_tokens, parts.executor));
    }
    layer->gates_.push_back(std::move(gate));
  }
  return layer;
}

uint64_t ExpertLayer::num_bytes(const ModelConfig& config, int32_t max_tokens) {
  const GateConfig& gate = config.moe.gate;
  if (gate.num_experts == 0) return 0;
  uint64_t num_moe_layers = 0;
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    num_moe_layers += config.is_moe_layer(layer) ? 1 : 0;
  }
  const uint64_t scores = num_moe_layers * static_cast<uint64_t>(gate.num_experts);
  const uint64_t rows =
      3 * static_cast<uint64_t>(gate.experts_per_token) * static_cast<uint64_t>(config.hidden_dim);
  return static_cast<uint64_t>(max_tokens) * (scores + rows) * sizeof(float);
}

void ExpertLayer::set_placement(Placement placement) {
  placement_ = std::move(placement);
  gone_.clear();
  health_.keep_only(placement_);
}

std::unique_ptr<MoeStep> ExpertLayer::new_step() { return std::make_unique<ExpertStep>(); }

absl::Status ExpertLayer::begin(int32_t layer_idx, Rows<const float> x, MoeStep* moe_step) {
  CHECK(layer_idx >= 0 && layer_idx < static_cast<int32_t>(gates_.size()));
  CHECK(gates_[layer_idx] != nullptr);
  ExpertStep* const step = static_cast<ExpertStep*>(moe_step);
  step->layer_idx = layer_idx;
  step->faults.clear();
  gates_[layer_idx]->choose(x, &step->top_k);
  for (int32_t t = 0; step->top_k.num_faulty > 0 && t < step->top_k.num_tokens; ++t) {
    if (step->top_k.expert[t * step->top_k.k] != kNoExpert) continue;
    step->faults.push_back({t, absl::InternalError(absl::StrFormat(
                                   "layer %d: the gate's scores are not finite", layer_idx))});
  }
  const std::vector<ServerId> home =
      choose_replicas(step->top_k, placement_, layer_idx, health_, /*lost=*/gone_);
  drop_uncovered(home, step);

  step->plan = plan_dispatch(step->top_k, home);
  step->sent.clear();
  step->x = x;
  step->deadline = clock_->now() + options_.leg_timeout;
  step->lost = gone_;
  send_legs(0, step);
  return absl::OkStatus();
}

// A token that needs an expert nobody holds asks nobody: its sum would be worth nothing.
void ExpertLayer::drop_uncovered(std::span<const ServerId> home, ExpertStep* step) const {
  TopK& top_k = step->top_k;
  for (int32_t t = 0; t < top_k.num_tokens; ++t) {
    const std::span<int32_t> picks =
        std::span(top_k.expert).subspan(static_cast<size_t>(t * top_k.k), top_k.k);
    const auto lost = std::find_if(picks.begin(), picks.end(), [&](int32_t expert) {
      return expert != kNoExpert && home[expert] == kNoServer;
    });
    if (lost == picks.end()) continue;
    step->faults.push_back(
        {t, absl::UnavailableError(
                absl::StrFormat("no server holds expert %d of layer %d", *lost, step->layer_idx))});
    std::fill(picks.begin(), picks.end(), kNoExpert);
  }
}

absl::Status ExpertLayer::finish(MoeStep* moe_step, Rows<float> out) {
  ExpertStep* const step = static_cast<ExpertStep*>(moe_step);
  const size_t num_faults = step->faults.size();
  std::vector<size_t> sick_legs;
  bool has_moved = false;
  begin_to_wait(clock_->now(), step);
  do {
    wait_for_legs(step);
    step->faults.resize(num_faults);
    unpack_answers(step, &sick_legs);
    has_moved = false;
    for (const size_t leg_idx : sick_legs) has_moved = move_leg(leg_idx, step) || has_moved;
  } while (has_moved);

  std::vector<Rows<const float>> said_by_leg;
  float* said = step->said.data();
  for (const Leg& leg : step->plan.legs) {
    said_by_leg.push_back({said, leg.num_picks(), hidden_dim_, hidden_dim_});
    said += static_cast<size_t>(leg.num_picks()) * static_cast<size_t>(hidden_dim_);
  }
  combine(step->plan, step->top_k, said_by_leg, out);
  return absl::OkStatus();
}

// Legs whose answers are not finite are `sick_legs`.
void ExpertLayer::unpack_answers(ExpertStep* step, std::vector<size_t>* sick_legs) const {
  sick_legs->clear();
  int32_t num_picks = 0;
  for (const Leg& leg : step->plan.legs) num_picks += leg.num_picks();
  step->said.resize(static_cast<size_t>(num_picks) * static_cast<size_t>(hidden_dim_));
  const Rows<float> said{step->said.data(), num_picks, hidden_dim_, hidden_dim_};
  int32_t first = 0;
  for (size_t i = 0; i < step->plan.legs.size(); ++i) {
    const int32_t count = step->plan.legs[i].num_picks();
    if (!unpack_answer(i, said.rows(first, count), step)) sick_legs->push_back(i);
    first += count;
  }
}

absl::Status ExpertLayer::check_reply(const Leg& leg, const LegReply& reply,
                                      int32_t layer_idx) const {
  if (!reply.status.ok()) {
    const std::string message =
        absl::StrFormat("layer %d: %s", layer_idx, std::string(reply.status.message()));
    return is_transient(reply.status) ? absl::UnavailableError(message)
                                      : absl::Status(reply.status.code(), message);
  }
  const size_t num_bytes =
      static_cast<size_t>(leg.num_picks()) * packed_row_bytes(options_.wire_back, hidden_dim_);
  if (reply.rows.size() == num_bytes) return absl::OkStatus();
  return absl::InternalError(absl::StrFormat(
      "server %d answered %d bytes where %d picks of layer %d need %d",
      static_cast<int32_t>(leg.server), reply.rows.size(), leg.num_picks(), layer_idx, num_bytes));
}

// Zeros stand for what did not come, so that the other tokens' sums can be made.
bool ExpertLayer::unpack_answer(size_t leg_idx, Rows<float> said, ExpertStep* step) const {
  const Leg& leg = step->plan.legs[leg_idx];
  if (leg.num_picks() == 0) return true;  // others have its picks
  const LegReply& reply = step->sent[leg_idx].reply;
  const absl::Status status = check_reply(leg, reply, step->layer_idx);
  if (!status.ok()) {
    for (const int32_t token : leg.token_idx) step->faults.push_back({token, status});
    for (int32_t p = 0; p < said.num_rows; ++p) std::fill_n(said.row(p), said.num_cols, 0.f);
    return true;
  }
  bool is_finite = true;
  unpack_rows(reply.rows.data(), options_.wire_back, said);
  for (int32_t p = 0; p < leg.num_picks(); ++p) {
    if (all_finite({said.row(p), static_cast<size_t>(hidden_dim_)})) continue;
    is_finite = false;
    const int32_t token = leg.pick_slot[p] / step->top_k.k;
    step->faults.push_back(
        {token, absl::InternalError(absl::StrFormat(
                    "layer %d: expert %d on server %d answered with numbers that are not finite",
                    step->layer_idx, leg.pick_expert[p], static_cast<int32_t>(leg.server)))});
  }
  return is_finite;
}

}  // namespace conclave
