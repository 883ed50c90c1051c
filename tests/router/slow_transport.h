// A transport between a test's router and its servers that decides when answers come, if ever.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "common/check.h"
#include "router/transport.h"
#include "tests/support/manual_clock.h"

namespace conclave {

// Computes answers at once and hands them out one a wait, in the order that the test wants; time
// passes where nothing is due.
class SlowTransport final : public Transport {
 public:
  enum class Order { kOldestFirst, kNewestFirst };

  SlowTransport(Transport* transport, ManualClock* clock) : transport_(transport), clock_(clock) {}

  Order order = Order::kOldestFirst;
  std::vector<ServerId> silent;
  std::map<ServerId, absl::Duration> delay;  // from sending a leg to its answer; else none
  bool always_looks = false;  // send() and cancel() hand out all that is due, as gRPC's do
  int32_t num_waits = 0;
  int32_t num_sent = 0;

  void send(const LegRequest& request, LegReply* reply) override {
    look();
    *reply = {};
    auto leg = std::make_unique<Leg>();
    leg->to = reply;
    const auto slow = delay.find(request.server);
    leg->due = clock_->now() + (slow == delay.end() ? absl::ZeroDuration() : slow->second);
    if (std::count(silent.begin(), silent.end(), request.server) > 0) {
      leg->due = absl::InfiniteFuture();
    }
    ++num_sent;
    transport_->send(request, &leg->reply);
    transport_->wait(absl::InfiniteFuture());
    CHECK(leg->reply.done);
    away_.push_back(std::move(leg));
  }

  bool wait(absl::Time until) override {
    ++num_waits;
    if (hand_one_out()) return true;
    absl::Time next = until;
    for (const auto& leg : away_) next = std::min(next, leg->due);
    clock_->advance(std::max(absl::ZeroDuration(), next - clock_->now()));
    return hand_one_out();
  }

  void cancel(LegReply* reply, absl::Status status) override {
    look();
    std::erase_if(away_, [&](const auto& leg) { return leg->to == reply; });
    if (reply->done) return;
    reply->done = true;
    reply->status = std::move(status);
  }

  size_t num_away() const { return away_.size(); }

 private:
  struct Leg {
    LegReply* to = nullptr;
    LegReply reply;
    absl::Time due;
  };

  void look() {
    while (always_looks && hand_one_out()) {
    }
  }

  bool hand_one_out() {
    if (order == Order::kNewestFirst) std::reverse(away_.begin(), away_.end());
    const auto found = std::find_if(away_.begin(), away_.end(),
                                    [&](const auto& leg) { return leg->due <= clock_->now(); });
    const bool any = found != away_.end();
    if (any) {
      *(*found)->to = std::move((*found)->reply);
      away_.erase(found);
    }
    if (order == Order::kNewestFirst) std::reverse(away_.begin(), away_.end());
    return any;
  }

  Transport* const transport_;  // outlives this
  ManualClock* const clock_;
  std::deque<std::unique_ptr<Leg>> away_;
};

}  // namespace conclave
