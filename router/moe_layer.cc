#include "router/moe_layer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "kernels/row_codec.h"
#include "kernels/vector_ops.h"

namespace conclave {

ExpertLayer::ExpertLayer(const ModelConfig& config, Placement placement, Transport* transport,
                         const Options& options)
    : options_(options),
      hidden_dim_(config.hidden_dim),
      placement_(std::move(placement)),
      transport_(transport) {}

absl::StatusOr<std::unique_ptr<ExpertLayer>> ExpertLayer::create(
    const ModelConfig& config, const TrunkWeights& trunk, Placement placement, Transport* transport,
    Executor* executor, const Options& options) {
  std::unique_ptr<ExpertLayer> layer(
      new ExpertLayer(config, std::move(placement), transport, options));
  for (const LayerWeights& weights : trunk.layers) {
    std::unique_ptr<Gate> gate;
    if (weights.is_moe) {
      ASSIGN_OR_RETURN(gate,
                       Gate::create(config.moe.gate, weights.gate, options.max_tokens, executor));
    }
    layer->gates_.push_back(std::move(gate));
  }
  return layer;
}

absl::Status ExpertLayer::begin(int32_t layer_idx, Rows<const float> x, MoeStep* step) {
  CHECK(layer_idx >= 0 && layer_idx < static_cast<int32_t>(gates_.size()));
  CHECK(gates_[layer_idx] != nullptr);
  step->layer_idx = layer_idx;
  step->faults.clear();
  gates_[layer_idx]->choose(x, &step->top_k);
  for (int32_t t = 0; step->top_k.num_faulty > 0 && t < step->top_k.num_tokens; ++t) {
    if (step->top_k.expert[t * step->top_k.k] != kNoExpert) continue;
    step->faults.push_back({t, absl::InternalError(absl::StrFormat(
                                   "layer %d: the gate's scores are not finite", layer_idx))});
  }
  drop_uncovered(step);

  step->plan = plan_dispatch(step->top_k, placement_.homes(layer_idx));
  step->sent.resize(step->plan.legs.size());
  step->replies.resize(step->plan.legs.size());
  for (size_t i = 0; i < step->plan.legs.size(); ++i) send_leg(step->plan.legs[i], x, i, step);
  return absl::OkStatus();
}

// A token that needs an expert nobody holds asks nobody: its sum would be worth nothing.
void ExpertLayer::drop_uncovered(MoeStep* step) const {
  const std::span<const ServerId> home = placement_.homes(step->layer_idx);
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

void ExpertLayer::send_leg(const Leg& leg, Rows<const float> x, size_t leg_idx, MoeStep* step) {
  const size_t row_bytes =
      static_cast<size_t>(hidden_dim_) * static_cast<size_t>(dtype_bytes(options_.wire_out));
  std::vector<std::byte>& sent = step->sent[leg_idx];
  sent.resize(leg.token_idx.size() * row_bytes);
  for (size_t m = 0; m < leg.token_idx.size(); ++m) {
    pack_rows(x.rows(leg.token_idx[m], 1), options_.wire_out, sent.data() + m * row_bytes);
  }
  const LegRequest request{.server = leg.server,
                           .layer_idx = step->layer_idx,
                           .placement_version = placement_.version(),
                           .pick_begin = leg.pick_begin,
                           .pick_expert = leg.pick_expert,
                           .row_type = options_.wire_out,
                           .num_cols = hidden_dim_,
                           .rows = sent,
                           .reply_type = options_.wire_back};
  transport_->send(request, &step->replies[leg_idx]);
}

absl::Status ExpertLayer::finish(MoeStep* step, Rows<float> out) {
  std::vector<LegReply*> replies;
  for (LegReply& reply : step->replies) replies.push_back(&reply);
  transport_->wait(replies);

  int32_t num_picks = 0;
  for (const Leg& leg : step->plan.legs) num_picks += leg.num_picks();
  step->said.resize(static_cast<size_t>(num_picks) * static_cast<size_t>(hidden_dim_));
  const Rows<float> said{step->said.data(), num_picks, hidden_dim_, hidden_dim_};

  std::vector<Rows<const float>> said_by_leg;
  int32_t first = 0;
  for (size_t i = 0; i < step->plan.legs.size(); ++i) {
    const int32_t count = step->plan.legs[i].num_picks();
    unpack_reply(i, said.rows(first, count), step);
    said_by_leg.push_back(said.rows(first, count));
    first += count;
  }
  combine(step->plan, step->top_k, said_by_leg, out);
  return absl::OkStatus();
}

absl::Status ExpertLayer::check_reply(const Leg& leg, const LegReply& reply,
                                      int32_t layer_idx) const {
  RETURN_IF_ERROR(reply.status);
  const size_t num_bytes = static_cast<size_t>(leg.num_picks()) * static_cast<size_t>(hidden_dim_) *
                           static_cast<size_t>(dtype_bytes(options_.wire_back));
  if (reply.rows.size() == num_bytes) return absl::OkStatus();
  return absl::InternalError(absl::StrFormat(
      "server %d answered %d bytes where %d picks of layer %d need %d",
      static_cast<int32_t>(leg.server), reply.rows.size(), leg.num_picks(), layer_idx, num_bytes));
}

// Zeros stand for what did not come, so that the other tokens' sums can be made.
void ExpertLayer::unpack_reply(size_t leg_idx, Rows<float> said, MoeStep* step) const {
  const Leg& leg = step->plan.legs[leg_idx];
  const LegReply& reply = step->replies[leg_idx];
  const absl::Status status = check_reply(leg, reply, step->layer_idx);
  if (!status.ok()) {
    for (const int32_t token : leg.token_idx) step->faults.push_back({token, status});
    for (int32_t p = 0; p < said.num_rows; ++p) std::fill_n(said.row(p), said.num_cols, 0.f);
    return;
  }
  unpack_rows(reply.rows.data(), options_.wire_back, said);
  for (int32_t p = 0; p < leg.num_picks(); ++p) {
    if (all_finite({said.row(p), static_cast<size_t>(hidden_dim_)})) continue;
    const int32_t token = leg.pick_slot[p] / step->top_k.k;
    step->faults.push_back(
        {token, absl::InternalError(absl::StrFormat(
                    "layer %d: expert %d on server %d answered with numbers that are not finite",
                    step->layer_idx, leg.pick_expert[p], static_cast<int32_t>(leg.server)))});
  }
}

}  // namespace conclave
