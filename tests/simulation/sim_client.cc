#include "tests/simulation/sim_client.h"

#include <bit>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace conclave {
namespace {

bool same(const TokenLogprob& a, const TokenLogprob& b) {
  return a.id == b.id && std::bit_cast<uint32_t>(a.logprob) == std::bit_cast<uint32_t>(b.logprob);
}

bool same(const Logprobs& a, const Logprobs& b) {
  if (!same(a.chosen, b.chosen) || a.best.size() != b.best.size()) return false;
  for (size_t i = 0; i < a.best.size(); ++i) {
    if (!same(a.best[i], b.best[i])) return false;
  }
  return true;
}

}  // namespace

SimClient::SimClient(const SimWorldParts& parts, SimFrontend* frontend, const ClientPlan* plan,
                     const SimAnswer* expected)
    : parts_(parts),
      frontend_(frontend),
      plan_(plan),
      expected_(expected),
      random_(parts.seed, std::hash<std::string>()(plan->request.id)) {}

void SimClient::begin() {
  if (state_ != State::kOutside) return;
  if (!frontend_->process()->alive()) {
    parts_.time->after(random_.duration(absl::Milliseconds(50), absl::Milliseconds(500)),
                       [this] { begin(); });
    return;
  }
  frontend_->process()->run([this] { submit(); });
  // A gateway that is killed before it takes the request in says nothing.
  parts_.time->after(absl::Seconds(2), [this, tries = num_tries_] {
    if (num_tries_ == tries) begin();
  });
}

void SimClient::submit() {
  if (state_ != State::kOutside) return;
  ++num_tries_;
  GatewayRequest request = plan_->request;
  num_ids_ = 0;
  heard_prompt_ = false;
  if (plan_->patience) deadline_ = request.deadline = parts_.time->now() + *plan_->patience;
  const absl::Status status = frontend_->submit(std::move(request), this);
  if (status.ok()) {
    check(state_ != State::kOutside, "was accepted and not started");
    parts_.time->after(plan_->wish_after, [this] { make_wish(); });
    return;
  }
  check(state_ == State::kOutside, "was started and refused");
  check(absl::IsResourceExhausted(status), "was refused: " + status.ToString());
  ++parts_.counts->num_refusals;
  parts_.time->after(random_.duration(absl::Milliseconds(50), absl::Milliseconds(500)),
                     [this] { begin(); });
}

void SimClient::make_wish() {
  if (state_ != State::kUnderWay || plan_->wish == ClientWish::kWholeAnswer) return;
  frontend_->process()->run([this] {
    if (state_ != State::kUnderWay) return;
    parts_.log->say(id(), plan_->wish == ClientWish::kCancel ? "cancels" : "goes away");
    if (plan_->wish == ClientWish::kCancel) {
      cancelled_ = true;
      frontend_->cancel(id());
      check(state_ == State::kEnded, "was cancelled and goes on");
    } else {
      state_ = State::kEnded;
      frontend_->client_gone(id(), this);
    }
  });
}

void SimClient::check(bool holds, const std::string& what) {
  if (!holds) parts_.log->violate(absl::StrCat("request ", id(), " ", what));
}

void SimClient::on_started(const GatewayRequest&) {
  check(state_ == State::kOutside, "is started twice");
  state_ = State::kUnderWay;
  parts_.log->say(id(), "is accepted");
}

void SimClient::on_delta(AnswerDelta delta) {
  check(state_ == State::kUnderWay, "hears something after its end");
  if (!delta.prompt_logprobs.empty()) {
    check(!std::exchange(heard_prompt_, true), "hears its prompt's logprobs twice");
    const auto& expected = expected_->prompt_logprobs;
    bool equal = delta.prompt_logprobs.size() == expected.size();
    for (size_t i = 0; equal && i < expected.size(); ++i) {
      equal = same(delta.prompt_logprobs[i], expected[i]);
    }
    check(equal, "hears other logprobs of its prompt");
  }
  for (size_t i = 0; i < delta.ids.size(); ++i, ++num_ids_) {
    if (num_ids_ >= expected_->ids.size()) return check(false, "hears more ids than there are");
    if (delta.ids[i] != expected_->ids[num_ids_]) {
      return check(false, absl::StrFormat("hears id %d at %d instead of %d", delta.ids[i], num_ids_,
                                          expected_->ids[num_ids_]));
    }
    if (expected_->logprobs.empty()) continue;
    check(i < delta.logprobs.size() && same(delta.logprobs[i], expected_->logprobs[num_ids_]),
          absl::StrFormat("hears another logprob at %d", num_ids_));
  }
}

void SimClient::on_finished(const AnswerFinish& finish) {
  check(state_ == State::kUnderWay, "ends twice");
  state_ = State::kEnded;
  finished_ = true;
  const size_t whole = expected_->ids.size();
  check(num_ids_ == whole, absl::StrFormat("finishes after %d ids of %d", num_ids_, whole));
  check(static_cast<size_t>(finish.num_generated) == whole, "counts its ids wrong");
  check(heard_prompt_ == !expected_->prompt_logprobs.empty(), "lacks its prompt's logprobs");
  const bool stopped = expected_->reason == FinishReason::kStopId;
  check((finish.reason == AnswerEnd::kStopId) == stopped, "ends for another reason");
  ++parts_.counts->num_answers;
  parts_.counts->num_ids += finish.num_generated;
  parts_.log->say(id(), "finishes");
}

void SimClient::on_failed(const absl::Status& status) {
  check(state_ == State::kUnderWay, "ends twice");
  if (!frontend_->process()->alive()) return on_broken();
  state_ = State::kEnded;
  parts_.log->say(id(), "fails: " + status.ToString());
  const bool due = absl::IsDeadlineExceeded(status) && parts_.time->now() >= deadline_;
  const bool own = absl::IsCancelled(status) && cancelled_;
  check(due || own, "fails: " + status.ToString());
}

// Its stream broke with the gateway: it asks again.
void SimClient::on_broken() {
  state_ = State::kOutside;
  parts_.time->after(random_.duration(absl::Milliseconds(50), absl::Milliseconds(500)),
                     [this] { begin(); });
}

std::string SimClient::state() const {
  const char* const words[] = {"is not accepted", "is under way", "has ended"};
  return absl::StrFormat("%s %s after %d ids of %d", id(), words[static_cast<size_t>(state_)],
                         num_ids_, expected_->ids.size());
}

}  // namespace conclave
