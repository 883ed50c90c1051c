#include "attention/overlap_policy.h"

#include <algorithm>
#include <bit>

#include "common/check.h"

namespace conclave {
namespace {

template <size_t N>
absl::Duration median(std::array<absl::Duration, N> times) {
  std::sort(times.begin(), times.end());
  return times[N / 2];
}

}  // namespace

std::optional<Overlap> parse_overlap(std::string_view name) {
  if (name == "auto") return Overlap::kAuto;
  if (name == "on") return Overlap::kOn;
  if (name == "off") return Overlap::kOff;
  return std::nullopt;
}

// The highest bit of the number and the two that follow it.
size_t OverlapPolicy::class_of(int32_t num_tokens) {
  CHECK(num_tokens >= 1);
  const auto number = static_cast<uint64_t>(num_tokens);
  const auto highest = static_cast<size_t>(std::bit_width(number)) - 1;
  return 4 * highest + static_cast<size_t>((4 * number >> highest) & 3);
}

bool OverlapPolicy::wants_halves(int32_t num_tokens) const {
  if (num_tokens < 2 || overlap_ == Overlap::kOff) return false;
  if (overlap_ == Overlap::kOn) return true;
  const SizeClass& size = sizes_[class_of(num_tokens)];
  if (size.num_steps_left > 0) return size.halves;
  return size.num_halves + 1 < size.num_whole || size.num_whole == kTrialPairs;
}

void OverlapPolicy::on_step(const WalkedStep& step) {
  if (step.num_tokens < 2 || overlap_ != Overlap::kAuto) return;
  SizeClass& size = sizes_[class_of(step.num_tokens)];
  if (size.num_steps_left > 0) {
    --size.num_steps_left;
    return;
  }
  if (step.halves) {
    CHECK(size.num_halves < kTrialPairs);
    size.in_halves[static_cast<size_t>(size.num_halves++)] = step.time;
  } else {
    CHECK(size.num_whole < kTrialPairs);
    size.whole[static_cast<size_t>(size.num_whole++)] = step.time;
    if (step.waited < kLeastWait * step.time) ++size.num_idle;
    if (size.num_idle == 2) return settle(false, &size);
  }
  if (size.num_halves == kTrialPairs) settle(halves_are_better(size), &size);
}

void OverlapPolicy::settle(bool halves, SizeClass* size) {
  size->halves = halves;
  size->num_steps_left = kStepsBetweenTrials;
  size->num_whole = 0;
  size->num_halves = 0;
  size->num_idle = 0;
}

bool OverlapPolicy::halves_are_better(const SizeClass& size) {
  const absl::Duration whole = median(size.whole);
  const absl::Duration halves = median(size.in_halves);
  if (size.halves) return halves <= whole + kMargin * halves;
  return halves < whole - kMargin * whole;
}

}  // namespace conclave
