// Whether a step is walked in two halves, so that one half computes while the other's legs are away
// (attention/layer_walk.h).
//
// Halves save waiting and cost a second reading of the layers' weights, here and at the experts.
// Neither can be told beforehand: the cost depends on how many rows share a reading, and waiting
// that is compute of this machine's own (a loopback, servers on the same cores) cannot be hidden at
// all. So both ways are measured. Sizes of steps are learned apart, four classes to a doubling: a
// class tries whole steps and halves in turn, kTrialPairs of each, and goes on with the way whose
// median time is less. The time is the whole step's, so that what halves save in waiting stands
// against all that they cost. Trials of neighbouring steps compare under the same load and the same
// lengths of sequences, which averages over a longer time would not.
//
// The other way must win by kMargin, so that noise moves nothing. Two whole steps that hardly wait
// end a trial, before halves are tried: there is nothing to hide. A class is tried anew after
// kStepsBetweenTrials, for servers come, go and move. A step of one row has no halves.
//
// A value without a clock: who walks tells it the times. Bits do not depend on what it says.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/time/time.h"

namespace conclave {

enum class Overlap : uint8_t { kAuto, kOn, kOff };

// "auto", "on", "off".
std::optional<Overlap> parse_overlap(std::string_view name);

// A step that is over.
struct WalkedStep {
  int32_t num_tokens = 0;
  bool halves = false;
  absl::Duration time;
  absl::Duration waited;  // of it, for legs
};

class OverlapPolicy {
 public:
  static constexpr int32_t kTrialPairs = 5;
  static constexpr int32_t kStepsBetweenTrials = 256;
  static constexpr double kMargin = 0.03;         // of the time of the way that is in use
  static constexpr double kLeastWait = 1.0 / 64;  // of the time of a whole step

  explicit OverlapPolicy(Overlap overlap) : overlap_(overlap) {}

  // For the next step.
  bool wants_halves(int32_t num_tokens) const;

  // What came of it. Steps that went wrong are not told: their times are those of timeouts.
  void on_step(const WalkedStep& step);

 private:
  // Steps of about one size.
  struct SizeClass {
    bool halves = false;         // the way in use
    int32_t num_steps_left = 0;  // until the next trial; 0: it is under way
    int32_t num_whole = 0;       // of the trial
    int32_t num_halves = 0;
    int32_t num_idle = 0;  // whole steps that hardly waited
    std::array<absl::Duration, kTrialPairs> whole;
    std::array<absl::Duration, kTrialPairs> in_halves;
  };

  static size_t class_of(int32_t num_tokens);
  static void settle(bool halves, SizeClass* size);
  static bool halves_are_better(const SizeClass& size);

  const Overlap overlap_;
  std::array<SizeClass, 4 * 31> sizes_;
};

}  // namespace conclave
