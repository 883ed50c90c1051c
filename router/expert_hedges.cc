// The hedges of an ExpertLayer: a late leg's picks at others as well, and who is first.
//
// While a race is open, the late leg and its hedges have the same picks in the step's plan.
// Whatever ends it leaves them to one side alone, before anybody combines.

#include <utility>

#include "kernels/row_codec.h"
#include "kernels/vector_ops.h"
#include "router/expert_layer.h"

namespace conclave {

// Only to servers that are well: one that is avoided may be what the next leg waits for.
void ExpertLayer::hedge(size_t leg_idx, ExpertStep* step) {
  if (!placement_.has_replicas() || !health_.has_hedge()) return;
  LegDetour detour = detour_of(leg_idx, *step, /*may_ask_avoided=*/false);
  if (!detour.is_whole()) return;
  const size_t first = step->sent.size();
  send_detour(std::move(detour.plan), step);
  for (size_t i = first; i < step->sent.size(); ++i) {
    SentLeg& sent = step->sent[i];
    step->sent[leg_idx].hedges.push_back(i);
    sent.hedge_of = leg_idx;
    sent.hedge_at = absl::InfiniteFuture();
    sent.deadline = step->deadline;  // the race ends with the late leg's patience
  }
}

// A hedge is done. One that failed says nothing of others that could be asked when the late leg is
// given up, so no server is lost to the step by it.
void ExpertLayer::settle_hedge(size_t leg_idx, ExpertStep* step) {
  const size_t late_idx = *step->sent[leg_idx].hedge_of;
  SentLeg& late = step->sent[late_idx];
  if (!has_whole_answer(leg_idx, *step)) {
    for (const size_t i : end_race(late_idx, HedgeOutcome::kDropped, step)) retire(i, step);
    return;
  }
  for (const size_t i : late.hedges) {
    if (!step->sent[i].is_settled) return;
  }
  end_race(late_idx, HedgeOutcome::kWon, step);
  late.is_outrun = true;
  step->lost.push_back(step->plan.legs[late_idx].server);
  retire(late_idx, step);
}

// The late leg is done, its hedges are not.
void ExpertLayer::settle_hedged_leg(size_t leg_idx, ExpertStep* step) {
  if (has_whole_answer(leg_idx, *step)) {
    for (const size_t i : end_race(leg_idx, HedgeOutcome::kLost, step)) retire(i, step);
    return;
  }
  step->lost.push_back(step->plan.legs[leg_idx].server);
  if (observer_ != nullptr) observer_->on_move(step->sent[leg_idx].reply.via);
  for (const size_t i : end_race(leg_idx, HedgeOutcome::kTookOver, step)) {
    step->sent[i].deadline = deadline_of(step->plan.legs[i], *step);
  }
  retire(leg_idx, step);
}

// From now on the late leg and those that were its hedges are legs like others.
std::vector<size_t> ExpertLayer::end_race(size_t leg_idx, HedgeOutcome outcome,
                                          ExpertStep* step) const {
  SentLeg& late = step->sent[leg_idx];
  if (observer_ != nullptr) observer_->on_hedge(late.reply.via, outcome);
  for (const size_t i : late.hedges) step->sent[i].hedge_of.reset();
  return std::exchange(late.hedges, {});
}

// Ends a leg whose picks are others'. Its own answer may come in the very last moment, and is
// counted as one.
void ExpertLayer::retire(size_t leg_idx, ExpertStep* step) {
  SentLeg& sent = step->sent[leg_idx];
  if (!sent.reply.done) {
    transport_->cancel(&sent.reply, absl::CancelledError("others had its picks as well"));
  }
  if (!std::exchange(sent.is_settled, true)) account(leg_idx, *step);
  sent.reply.rows.clear();
  Leg& leg = step->plan.legs[leg_idx];
  leg = Leg{.server = leg.server, .pick_begin = {0}};
}

bool ExpertLayer::has_whole_answer(size_t leg_idx, const ExpertStep& step) const {
  const Leg& leg = step.plan.legs[leg_idx];
  const LegReply& reply = step.sent[leg_idx].reply;
  if (!check_reply(leg, reply, step.layer_idx).ok()) return false;
  const size_t row_bytes = packed_row_bytes(options_.wire_back, hidden_dim_);
  std::vector<float> row(static_cast<size_t>(hidden_dim_));
  for (size_t p = 0; p < leg.pick_expert.size(); ++p) {
    unpack_rows(reply.rows.data() + p * row_bytes, options_.wire_back,
                {row.data(), 1, hidden_dim_, hidden_dim_});
    if (!all_finite(row)) return false;
  }
  return true;
}

}  // namespace conclave
