// The legs of an ExpertLayer: sending, waiting, giving up, sending elsewhere.

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "kernels/row_codec.h"
#include "router/expert_layer.h"
#include "router/leg_status.h"
#include "router/replica_choice.h"

namespace conclave {
namespace {

// Legs up to this size are what decoding makes; larger ones would make those wait.
constexpr int32_t kMostDecodePicks = 64;

// The picks of one leg alone.
TopK picks_of(const Leg& leg, const TopK& top_k) {
  TopK picks{.num_tokens = top_k.num_tokens,
             .k = top_k.k,
             .expert = std::vector<int32_t>(top_k.expert.size(), kNoExpert)};
  for (size_t p = 0; p < leg.pick_slot.size(); ++p) {
    picks.expert[static_cast<size_t>(leg.pick_slot[p])] = leg.pick_expert[p];
  }
  return picks;
}

bool is_covered(const TopK& picks, std::span<const ServerId> home) {
  return std::all_of(picks.expert.begin(), picks.expert.end(), [&](int32_t expert) {
    return expert == kNoExpert || home[static_cast<size_t>(expert)] != kNoServer;
  });
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
  health_.on_sent(leg.server, leg.num_picks());
  const auto silent = silent_until_.find(leg.server);
  if (silent != silent_until_.end()) {
    if (sent.sent_at < silent->second) {
      sent.reply = {
          .done = true,
          .status = absl::UnavailableError(absl::StrFormat(
              "server %d let a deadline pass a moment ago", static_cast<int32_t>(leg.server)))};
      return;
    }
    silent_until_.erase(silent);
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

// Waits for all legs; each is settled as soon as it is there, which may send others.
void ExpertLayer::wait_for_legs(ExpertStep* step) {
  while (true) {
    bool all_done = true;
    absl::Time next = step->deadline;
    for (size_t i = 0; i < step->sent.size(); ++i) {
      SentLeg& sent = step->sent[i];
      if (sent.reply.done) {
        if (!std::exchange(sent.is_settled, true)) settle(i, step);
      } else {
        all_done = false;
        next = std::min(next, sent.deadline);
      }
    }
    if (all_done) return;
    if (!transport_->wait(next)) give_up_overdue(step);
  }
}

void ExpertLayer::settle(size_t leg_idx, ExpertStep* step) {
  const SentLeg& sent = step->sent[leg_idx];
  const Leg& leg = step->plan.legs[leg_idx];
  if (is_lost_server(sent.reply.status)) {
    health_.on_loss(leg.server, leg.num_picks());
  } else if (sent.reply.status.ok()) {
    health_.on_answer(leg.server, leg.num_picks(), clock_->now() - sent.sent_at);
  } else {
    health_.on_given_back(leg.server, leg.num_picks());
  }
  report(leg_idx, *step);
  if (is_transient(sent.reply.status) && clock_->now() < step->deadline) move_leg(leg_idx, step);
}

// The picks of a leg for other holders, none of which has failed in this step. Nothing where some
// of them have no other, or retries are used up.
std::optional<DispatchPlan> ExpertLayer::plan_elsewhere(const Leg& leg,
                                                        const ExpertStep& step) const {
  if (!placement_.has_replicas() || !health_.has_retry()) return std::nullopt;
  std::vector<ServerId> lost = step.lost;
  lost.push_back(leg.server);
  const TopK picks = picks_of(leg, step.top_k);
  const std::vector<ServerId> home =
      choose_replicas(picks, placement_, step.layer_idx, health_, lost);
  if (!is_covered(picks, home)) return std::nullopt;
  return plan_dispatch(picks, home);
}

bool ExpertLayer::move_leg(size_t leg_idx, ExpertStep* step) {
  Leg& leg = step->plan.legs[leg_idx];
  std::optional<DispatchPlan> elsewhere = plan_elsewhere(leg, *step);
  step->lost.push_back(leg.server);
  if (!elsewhere) return false;
  health_.take_retry();
  if (observer_ != nullptr) observer_->on_move(step->sent[leg_idx].reply.via);
  leg = Leg{.server = leg.server, .pick_begin = {0}};
  const size_t first = step->plan.legs.size();
  for (Leg& other : elsewhere->legs) step->plan.legs.push_back(std::move(other));
  send_legs(first, step);
  return true;
}

// Legs whose own deadline is over, where they may be sent elsewhere, or the step's.
void ExpertLayer::give_up_overdue(ExpertStep* step) {
  const absl::Time now = clock_->now();
  for (size_t i = 0; i < step->sent.size(); ++i) {
    SentLeg& sent = step->sent[i];
    if (sent.reply.done || now < sent.deadline) continue;
    const Leg& leg = step->plan.legs[i];
    const bool is_last = now >= step->deadline;
    if (!is_last && !plan_elsewhere(leg, *step)) {
      sent.deadline = step->deadline;
      continue;
    }
    if (is_last) silent_until_[leg.server] = now + options_.leg_timeout;
    const absl::Duration patience = is_last ? options_.leg_timeout : now - sent.sent_at;
    transport_->cancel(&sent.reply,
                       absl::DeadlineExceededError(absl::StrFormat(
                           "server %d did not answer within %s", static_cast<int32_t>(leg.server),
                           absl::FormatDuration(patience))));
  }
}

void ExpertLayer::report(size_t leg_idx, const ExpertStep& step) const {
  if (observer_ == nullptr) return;
  const Leg& leg = step.plan.legs[leg_idx];
  const SentLeg& sent = step.sent[leg_idx];
  observer_->on_leg({.server = leg.server,
                     .layer_idx = step.layer_idx,
                     .num_rows = leg.num_rows(),
                     .num_picks = leg.num_picks(),
                     .bytes_out = sent.bytes_out,
                     .bytes_back = sent.reply.status.ok() ? sent.reply.rows.size() : 0,
                     .latency = clock_->now() - sent.sent_at,
                     .status = sent.reply.status,
                     .transport = sent.reply.via});
}

}  // namespace conclave
