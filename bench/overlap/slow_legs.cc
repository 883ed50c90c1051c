#include "bench/overlap/slow_legs.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/time/clock.h"
#include "common/check.h"
#include "common/spin_wait.h"
#include "kernels/row_codec.h"

namespace conclave {
namespace {

// Sleeping is late by some 50 us, so the rest is spun.
void wait_until(absl::Time until, const Clock& clock) {
  const absl::Duration asleep = until - clock.now() - absl::Microseconds(150);
  if (asleep > absl::ZeroDuration()) absl::SleepFor(asleep);
  while (clock.now() < until) relax_core();
}

}  // namespace

void EchoExperts::submit(const LegRequest& request, LegReply* reply) {
  CHECK(request.row_type == request.reply_type);
  queue_.push_back({request, reply});
}

bool EchoExperts::run() {
  for (const auto& [request, reply] : queue_) {
    const size_t row_bytes = packed_row_bytes(request.row_type, request.num_cols);
    SharedBytes said = SharedBytes::of_size(request.pick_expert.size() * row_bytes);
    for (size_t m = 0; m + 1 < request.pick_begin.size(); ++m) {
      for (int32_t p = request.pick_begin[m]; p < request.pick_begin[m + 1]; ++p) {
        std::memcpy(said.fill() + static_cast<size_t>(p) * row_bytes,
                    request.rows.data() + m * row_bytes, row_bytes);
      }
    }
    reply->rows = std::move(said);
    reply->status = absl::OkStatus();
    reply->done = true;
  }
  return !std::exchange(queue_, {}).empty();
}

void SlowLegs::send(const LegRequest& request, LegReply* reply) {
  reply->done = false;
  auto answer = std::make_unique<LegReply>();
  transport_->send(request, answer.get());
  while (!answer->done) CHECK(transport_->wait(absl::InfiniteFuture()));
  away_.push_back({reply, std::move(answer), clock_->now() + delay_});
}

bool SlowLegs::wait(absl::Time until) {
  if (away_.empty() || away_.front().back_at > until) return false;
  wait_until(away_.front().back_at, *clock_);
  const absl::Time now = clock_->now();
  const auto still_away =
      std::find_if(away_.begin(), away_.end(), [&](const Away& leg) { return leg.back_at > now; });
  for (auto leg = away_.begin(); leg != still_away; ++leg) *leg->to = std::move(*leg->reply);
  away_.erase(away_.begin(), still_away);
  return true;
}

void SlowLegs::cancel(LegReply* reply, absl::Status status) {
  if (reply->done) return;
  std::erase_if(away_, [&](const Away& leg) { return leg.to == reply; });
  reply->status = std::move(status);
  reply->done = true;
}

}  // namespace conclave
