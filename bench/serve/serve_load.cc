#include "bench/serve/serve_load.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "common/check.h"

namespace conclave {
namespace {

double seconds(BenchClock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// Log-normal around `middle`, cut at `least` and `most`.
struct Lengths {
  double middle = 0;
  double spread = 0;
  int32_t least = 0;
  int32_t most = 0;
};
constexpr Lengths kPrompts{.middle = 64, .spread = 1.0, .least = 4, .most = 512};
constexpr Lengths kAnswers{.middle = 32, .spread = 0.7, .least = 4, .most = 200};

int32_t draw(const Lengths& lengths, std::mt19937_64* rng) {
  std::normal_distribution<double> normal(std::log(lengths.middle), lengths.spread);
  return std::clamp(static_cast<int32_t>(std::exp(normal(*rng))), lengths.least, lengths.most);
}

Percentiles percentiles_of(std::vector<double>* values) {
  if (values->empty()) return {};
  std::sort(values->begin(), values->end());
  const auto at = [&](double share) {
    const double last = static_cast<double>(values->size() - 1);
    return (*values)[static_cast<size_t>(std::ceil(share * last))];
  };
  return {.p50 = at(0.50), .p99 = at(0.99)};
}

}  // namespace

std::vector<Arrival> poisson_arrivals(const PoissonLoad& load) {
  CHECK(load.rate > 0);
  std::mt19937_64 rng(load.seed);
  std::exponential_distribution<double> pause(load.rate);
  std::vector<Arrival> arrivals;
  for (double at = pause(rng); at < load.seconds; at += pause(rng)) {
    arrivals.push_back({.after = std::chrono::nanoseconds(static_cast<int64_t>(at * 1e9)),
                        .shape = {.num_prompt = draw(kPrompts, &rng),
                                  .max_tokens = draw(kAnswers, &rng),
                                  .num_ids = load.num_ids,
                                  .seed = rng()}});
  }
  return arrivals;
}

Served served_of(const std::vector<Arrival>& arrivals, const std::vector<TokenTimes>& times,
                 BenchClock::time_point begin) {
  CHECK(arrivals.size() == times.size());
  Served served{.num_requests = static_cast<int64_t>(arrivals.size())};
  if (arrivals.empty()) return served;
  const BenchClock::time_point last_arrival = begin + arrivals.back().after;
  BenchClock::time_point end = last_arrival;
  std::vector<double> first;
  std::vector<double> between;
  int64_t num_asked = 0;
  for (size_t i = 0; i < times.size(); ++i) {
    const std::vector<BenchClock::time_point>& ids = times[i].ids;
    num_asked += arrivals[i].shape.max_tokens;
    served.num_failed += times[i].status.ok() ? 0 : 1;
    if (ids.empty()) continue;
    served.num_tokens += static_cast<int64_t>(ids.size());
    first.push_back(seconds(ids.front() - times[i].sent));
    for (size_t k = 1; k < ids.size(); ++k) {
      if (ids[k] != ids[k - 1]) between.push_back(seconds(ids[k] - ids[k - 1]));
    }
    end = std::max(end, ids.back());
  }
  const double arriving = seconds(last_arrival - begin);
  if (arriving > 0) served.asked_rate = static_cast<double>(num_asked) / arriving;
  served.answered_rate =
      static_cast<double>(served.num_tokens) / std::max(1e-9, seconds(end - begin));
  served.first_token = percentiles_of(&first);
  served.between_tokens = percentiles_of(&between);
  return served;
}

}  // namespace conclave
