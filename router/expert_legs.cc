// The legs of an ExpertLayer: sending, waiting, giving up, sending elsewhere.

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "kernels/row_codec.h"
#include "router/expert_layer.h"
#include "router/leg_status.h"

namespace conclave {
namespace {

// Legs up to this size are what decoding makes; larger ones would make those wait.
constexpr int32_t kMostDecodePicks = 64;

// So often a step that waits looks whether those that it waits for are members still.
constexpr absl::Duration kMemberLooks = absl::Milliseconds(200);

absl::Status no_answer(ServerId server, absl::Duration limit) {
  return absl::DeadlineExceededError(absl::StrFormat("server %d did not answer within %s",
                                                     static_cast<int32_t>(server),
                                                     absl::FormatDuration(limit)));
}

}  // namespace

void ExpertLayer::send_legs(size_t first, ExpertStep* step) {
  for (size_t i = first; i < step->plan.legs.size(); ++i) {
    step->sent.emplace_back();
    send_leg(i, step);
  }
}

void ExpertLayer::send_leg(size_t leg_idx, ExpertStep* step) {
  const Leg& leg = step->plan.legs[leg_idx];
  SentLeg& sent = step->sent[leg_idx];
  sent.sent_at = clock_->now();
  sent.deadline = deadline_of(leg, *step);
  if (placement_.has_replicas()) {
    sent.hedge_at = sent.sent_at + health_.hedge_delay(leg.server, leg.num_picks());
  }
  health_.on_sent(leg.server, leg.num_picks());
  if (health_.is_silent(leg.server)) {
    sent.reply = {
        .done = true,
        .status = absl::UnavailableError(absl::StrFormat(
            "server %d let a deadline pass a moment ago", static_cast<int32_t>(leg.server)))};
    return;
  }
  const size_t row_bytes = packed_row_bytes(options_.wire_out, hidden_dim_);
  SharedBytes rows = SharedBytes::of_size(leg.token_idx.size() * row_bytes);
  for (size_t m = 0; m < leg.token_idx.size(); ++m) {
    pack_rows(step->x.rows(leg.token_idx[m], 1), options_.wire_out, rows.fill() + m * row_bytes);
  }
  sent.bytes_out = rows.size();
  const LegRequest request{
      .server = leg.server,
      .layer_idx = step->layer_idx,
      .placement_version = placement_.version(),
      .lane = leg.num_picks() <= kMostDecodePicks ? Lane::kDecode : Lane::kPrefill,
      .pick_begin = leg.pick_begin,
      .pick_expert = leg.pick_expert,
      .row_type = options_.wire_out,
      .num_cols = hidden_dim_,
      .rows = std::move(rows),
      .reply_type = options_.wire_back};
  transport_->send(request, &sent.reply);
}

// The step's, or earlier where others could answer as well.
absl::Time ExpertLayer::deadline_of(const Leg& leg, const ExpertStep& step) const {
  if (!placement_.has_replicas()) return step.deadline;
  const absl::Duration patience = health_.patience(leg.server, leg.num_picks());
  return std::min(step.deadline, clock_->now() + patience);
}

// Waits for all legs; each is settled as soon as it is there, which may send others or end some.
void ExpertLayer::wait_for_legs(ExpertStep* step) {
  while (true) {
    while (settle_done_legs(step) || end_legs_to_the_gone(step)) {
    }
    bool all_done = true;
    absl::Time next = step->deadline;
    if (members_ != nullptr) next = std::min(next, clock_->now() + kMemberLooks);
    for (const SentLeg& sent : step->sent) {
      if (sent.reply.done) continue;
      all_done = false;
      next = std::min({next, sent.deadline, sent.hedge_at});
    }
    if (all_done) return;
    if (transport_->wait(next)) continue;
    note_who_left(step);
    look_at_late_legs(step);
  }
}

// Whether there was any; then others may be done by now.
bool ExpertLayer::settle_done_legs(ExpertStep* step) {
  bool any = false;
  for (size_t i = 0; i < step->sent.size(); ++i) {
    SentLeg& sent = step->sent[i];
    if (!sent.reply.done || std::exchange(sent.is_settled, true)) continue;
    any = true;
    settle(i, step);
  }
  return any;
}

void ExpertLayer::settle(size_t leg_idx, ExpertStep* step) {
  const SentLeg& sent = step->sent[leg_idx];
  account(leg_idx, *step);
  if (sent.hedge_of) return settle_hedge(leg_idx, step);
  if (!sent.hedges.empty()) return settle_hedged_leg(leg_idx, step);
  if (is_transient(sent.reply.status) && clock_->now() < step->deadline) move_leg(leg_idx, step);
}

// Once for every leg, with all rows that it was sent with.
void ExpertLayer::account(size_t leg_idx, const ExpertStep& step) {
  const Leg& leg = step.plan.legs[leg_idx];
  const SentLeg& sent = step.sent[leg_idx];
  const absl::Duration latency = clock_->now() - sent.sent_at;
  if (sent.reply.status.ok()) {
    health_.on_answer(leg.server, leg.num_picks(), latency);
  } else if (is_lost_server(sent.reply.status)) {
    health_.on_loss(leg.server, leg.num_picks());
  } else if (sent.is_outrun) {
    health_.on_late(leg.server, leg.num_picks(), latency);
  } else {
    health_.on_given_back(leg.server, leg.num_picks());
  }
  if (observer_ == nullptr) return;
  observer_->on_leg({.server = leg.server,
                     .layer_idx = step.layer_idx,
                     .num_rows = leg.num_rows(),
                     .num_picks = leg.num_picks(),
                     .bytes_out = sent.bytes_out,
                     .bytes_back = sent.reply.status.ok() ? sent.reply.rows.size() : 0,
                     .latency = latency,
                     .status = sent.reply.status,
                     .transport = sent.reply.via});
}

LegDetour ExpertLayer::detour_of(size_t leg_idx, const ExpertStep& step,
                                 bool may_ask_avoided) const {
  return plan_detour(step.plan.legs[leg_idx], step.top_k,
                     {.placement = &placement_,
                      .health = &health_,
                      .lost = step.lost,
                      .layer_idx = step.layer_idx,
                      .may_ask_avoided = may_ask_avoided});
}

void ExpertLayer::send_detour(DispatchPlan plan, ExpertStep* step) {
  health_.take_retry();
  const size_t first = step->plan.legs.size();
  for (Leg& leg : plan.legs) step->plan.legs.push_back(std::move(leg));
  send_legs(first, step);
}

// Sends what others can answer of a leg that is done to them. An answer that is not finite has rows
// that are: they are kept, unless all can go.
bool ExpertLayer::move_leg(size_t leg_idx, ExpertStep* step) {
  const LegReply& reply = step->sent[leg_idx].reply;
  const bool may_go = placement_.has_replicas() && health_.has_retry();
  LegDetour detour = may_go ? detour_of(leg_idx, *step) : LegDetour{};
  step->lost.push_back(step->plan.legs[leg_idx].server);
  if (detour.plan.legs.empty() || (reply.status.ok() && !detour.is_whole())) return false;
  if (observer_ != nullptr) observer_->on_move(reply.via);
  step->plan.legs[leg_idx] = std::move(detour.rest);
  send_detour(std::move(detour.plan), step);
  return true;
}

// Whoever takes a server out of the cluster has waited for it long enough, but may have lost sight
// of one that still answers: those that have just been asked have their time.
void ExpertLayer::note_who_left(ExpertStep* step) {
  if (members_ == nullptr) return;
  for (size_t i = 0; i < step->sent.size(); ++i) {
    const ServerId server = step->plan.legs[i].server;
    const bool is_old = clock_->now() - step->sent[i].sent_at >= kMemberLooks;
    if (step->sent[i].reply.done || !is_old || is_gone(server)) continue;
    if (members_->has_left(server, placement_.version())) gone_.push_back(server);
  }
}

// Whether there was any.
bool ExpertLayer::end_legs_to_the_gone(ExpertStep* step) {
  if (gone_.empty()) return false;
  bool any = false;
  for (size_t i = 0; i < step->sent.size(); ++i) {
    const ServerId server = step->plan.legs[i].server;
    if (step->sent[i].reply.done || !is_gone(server)) continue;
    any = true;
    give_up(i,
            absl::UnavailableError(
                absl::StrFormat("server %d has left the cluster", static_cast<int32_t>(server))),
            step);
  }
  return any;
}

bool ExpertLayer::is_gone(ServerId server) const {
  return std::find(gone_.begin(), gone_.end(), server) != gone_.end();
}

void ExpertLayer::look_at_late_legs(ExpertStep* step) {
  const absl::Time now = clock_->now();
  for (size_t i = 0; i < step->sent.size(); ++i) {
    SentLeg& sent = step->sent[i];
    if (sent.reply.done) continue;
    if (now >= sent.deadline) {
      look_at_overdue_leg(i, step);
    } else if (now >= sent.hedge_at) {
      sent.hedge_at = absl::InfiniteFuture();
      hedge(i, step);
    }
  }
}

// Gives it up where that helps, or at the step's deadline; then its server is silent, unless it was
// asked only just before. A leg that nobody else can answer as a
// whole is waited for until then, for who is lost stays lost; one that lacks but a retry is looked
// at again, for answers earn some.
void ExpertLayer::look_at_overdue_leg(size_t leg_idx, ExpertStep* step) {
  const absl::Time now = clock_->now();
  SentLeg& sent = step->sent[leg_idx];
  const Leg& leg = step->plan.legs[leg_idx];
  sent.hedge_at = absl::InfiniteFuture();
  const absl::Duration waited = now - sent.sent_at;
  if (now >= step->deadline) {
    const absl::Duration patience = health_.patience(leg.server, leg.num_picks());
    const bool had_time = waited >= std::min(patience, options_.leg_timeout / 2);
    if (had_time) health_.on_silence(leg.server, options_.leg_timeout);
    return give_up(leg_idx, no_answer(leg.server, options_.leg_timeout), step);
  }
  if (!detour_of(leg_idx, *step).is_whole()) {
    sent.deadline = step->deadline;
  } else if (!health_.has_retry()) {
    sent.deadline = deadline_of(leg, *step);
  } else {
    give_up(leg_idx, no_answer(leg.server, waited), step);
  }
}

// Settled at once, so that it has the retry that was there for it.
void ExpertLayer::give_up(size_t leg_idx, absl::Status status, ExpertStep* step) {
  SentLeg& sent = step->sent[leg_idx];
  transport_->cancel(&sent.reply, std::move(status));
  if (!std::exchange(sent.is_settled, true)) settle(leg_idx, step);
}

}  // namespace conclave
