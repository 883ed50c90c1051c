#include "router/replica_health.h"

#include <algorithm>
#include <vector>

#include "common/check.h"

namespace conclave {
namespace {

constexpr double kOlderBy = 0.98;  // what an answer counts of the one after it
constexpr int64_t kEnoughAnswers = 8;

}  // namespace

void ReplicaHealth::Fit::add(double picks, double seconds) {
  ++num_answers;
  n = n * kOlderBy + 1;
  x = x * kOlderBy + picks;
  y = y * kOlderBy + seconds;
  xx = xx * kOlderBy + picks * picks;
  xy = xy * kOlderBy + picks * seconds;
}

// Legs that were all about of one size say nothing of the slope: then a larger leg is taken to cost
// in proportion, and a smaller one no less.
double ReplicaHealth::Fit::seconds_of(double picks) const {
  const double mean_x = x / n;
  const double mean_y = y / n;
  const double variance = xx / n - mean_x * mean_x;
  if (variance < 1e-3 * mean_x * mean_x) return mean_y * std::max(1.0, picks / mean_x);
  const double b = std::max(0.0, (xy / n - mean_x * mean_y) / variance);
  const double a = std::max(0.0, mean_y - b * mean_x);
  return a + b * picks;
}

ReplicaHealth::Server* ReplicaHealth::find(ServerId server) {
  const auto found = servers_.find(server);
  return found == servers_.end() ? nullptr : &found->second;
}

const ReplicaHealth::Server* ReplicaHealth::find(ServerId server) const {
  const auto found = servers_.find(server);
  return found == servers_.end() ? nullptr : &found->second;
}

void ReplicaHealth::on_sent(ServerId server, int32_t num_picks) {
  servers_[server].picks_away += num_picks;
}

void ReplicaHealth::on_given_back(ServerId server, int32_t num_picks) {
  Server* const known = find(server);
  if (known != nullptr) known->picks_away = std::max<int64_t>(0, known->picks_away - num_picks);
}

void ReplicaHealth::on_answer(ServerId server, int32_t num_picks, absl::Duration latency) {
  on_given_back(server, num_picks);
  retries_ = std::min(kMostRetries, retries_ + kRetriesPerAnswer);
  Server* const known = find(server);
  if (known == nullptr) return;
  known->pause = absl::ZeroDuration();
  known->avoided_until = absl::InfinitePast();
  if (num_picks > 0) known->fit.add(num_picks, absl::ToDoubleSeconds(latency));
  if (known->weight == 1 || ++known->num_answers_at_weight < kAnswersAStep) return;
  known->weight /= 2;
  known->num_answers_at_weight = 0;
}

void ReplicaHealth::on_loss(ServerId server, int32_t num_picks) {
  on_given_back(server, num_picks);
  Server* const known = find(server);
  if (known == nullptr) return;
  const absl::Time now = clock_->now();
  known->lost_at = now;
  known->weight = kFirstWeight;
  known->num_answers_at_weight = 0;
  if (now < known->avoided_until) return;  // legs that were away together are one loss
  known->pause = std::clamp(2 * known->pause, kFirstPause, kLongestPause);
  known->avoided_until = now + known->pause;
}

// What it costs to ask a server that hangs grows with how long it is waited for, and so does the
// pause.
void ReplicaHealth::on_late(ServerId server, int32_t num_picks, absl::Duration away) {
  on_given_back(server, num_picks);
  Server* const known = find(server);
  if (known == nullptr) return;
  const absl::Time now = clock_->now();
  if (now < known->avoided_until) return;
  known->pause = std::min(kLongestPause, std::max(2 * known->pause, kPausePerLateness * away));
  known->avoided_until = now + known->pause;
}

void ReplicaHealth::on_silence(ServerId server, absl::Duration pause) {
  servers_[server].silent_until = clock_->now() + pause;
}

void ReplicaHealth::keep_only(const Placement& placement) {
  const std::vector<ServerId> placed = placement.servers();
  const absl::Time now = clock_->now();
  for (auto next = servers_.begin(); next != servers_.end();) {
    const auto at = next++;
    Server& server = at->second;
    if (std::binary_search(placed.begin(), placed.end(), at->first)) continue;
    if (now - server.lost_at > kRemembered) {
      servers_.erase(at);
    } else {
      server = {
          .pause = server.pause, .lost_at = server.lost_at, .weight = kFirstWeight, .fit = {}};
    }
  }
}

int64_t ReplicaHealth::weight(ServerId server) const {
  const Server* const known = find(server);
  return known == nullptr ? 1 : known->weight;
}

bool ReplicaHealth::is_avoided(ServerId server) const {
  const Server* const known = find(server);
  return known != nullptr && clock_->now() < known->avoided_until;
}

bool ReplicaHealth::is_silent(ServerId server) const {
  const Server* const known = find(server);
  return known != nullptr && clock_->now() < known->silent_until;
}

int64_t ReplicaHealth::picks_away(ServerId server) const {
  const Server* const known = find(server);
  return known == nullptr ? 0 : known->picks_away;
}

// Nothing while too few answers are known.
std::optional<absl::Duration> ReplicaHealth::usual_time(ServerId server, int32_t num_picks) const {
  const Server* const known = find(server);
  if (known == nullptr || known->fit.num_answers < kEnoughAnswers) return std::nullopt;
  return absl::Seconds(known->fit.seconds_of(num_picks));
}

absl::Duration ReplicaHealth::patience(ServerId server, int32_t num_picks) const {
  const std::optional<absl::Duration> usual = usual_time(server, num_picks);
  if (!usual) return kFirstPatience + num_picks * kFirstPatiencePerPick;
  return std::max(kLeastPatience, kPatience * *usual);
}

absl::Duration ReplicaHealth::hedge_delay(ServerId server, int32_t num_picks) const {
  const std::optional<absl::Duration> usual = usual_time(server, num_picks);
  return usual ? std::max(kLeastHedgeDelay, kHedge * *usual) : absl::InfiniteDuration();
}

void ReplicaHealth::take_retry() {
  CHECK(has_retry());
  retries_ -= 1;
}

}  // namespace conclave
