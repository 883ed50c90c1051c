#include <algorithm>
#include <cmath>

#include "common/check.h"
#include "kernels/rope.h"

namespace conclave {
namespace {

constexpr double kPi = 3.14159265358979323846;

// The (fractional) pair that turns `turns` times within the original context: d(beta) of the spec.
double pair_of_turns(const RopeParams& params, double turns) {
  return params.num_dims * std::log(params.original_max_positions / (2 * kPi * turns)) /
         (2 * std::log(params.theta));
}

}  // namespace

double yarn_scale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

std::vector<float> rope_frequencies(const RopeParams& params) {
  CHECK(params.num_dims > 0);
  CHECK(params.num_dims % 2 == 0);
  const bool yarn = params.factor != 0;
  double low = 0;
  double high = 0;
  if (yarn) {
    low = std::max(std::floor(pair_of_turns(params, params.beta_fast)), 0.0);
    high = std::min(std::ceil(pair_of_turns(params, params.beta_slow)), params.num_dims - 1.0);
    if (low == high) high += 0.001;  // a step instead of a division by zero
  }
  std::vector<float> frequencies(static_cast<size_t>(params.num_dims / 2));
  for (int32_t j = 0; j < params.num_dims / 2; ++j) {
    double frequency = std::pow(params.theta, -2.0 * j / params.num_dims);
    if (yarn) {
      const double ramp = std::clamp((j - low) / (high - low), 0.0, 1.0);
      frequency = frequency / params.factor * ramp + frequency * (1 - ramp);
    }
    frequencies[static_cast<size_t>(j)] = static_cast<float>(frequency);
  }
  return frequencies;
}

}  // namespace conclave
