// How much of a leg's time is hidden behind the other half of a step: decode steps of a trunk of
// random weights whose experts answer at once and whose legs then take 1 ms, beside the same steps
// with legs that take nothing.
//
//   s a step          of whole steps, halves and --overlap auto, with and without the millisecond;
//                     medians of a round
//   share hidden      1 - (halves with legs - whole without) / (whole with legs - whole without):
//                     what halves leave of the time that legs add to a step, their own cost
//                     included; of the same round
//   auto halved       the share of steps, by --overlap auto, after its trial
//
// The ways take turns step by step, on one thread, so that neighbours of this machine disturb all
// of them alike.
//
// usage: bench_overlap [ROUNDS [SEQUENCES D LAYERS]]

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "attention/attention_stack.h"
#include "bench/limits/limits.h"
#include "bench/overlap/random_trunk.h"
#include "bench/overlap/slow_legs.h"
#include "common/check.h"
#include "common/thread_pool.h"
#include "router/expert_layer.h"

namespace conclave {
namespace {

constexpr absl::Duration kLegs = absl::Milliseconds(1);
constexpr int32_t kNumServers = 2;
constexpr int32_t kDepth = 64;
constexpr int32_t kStepsPerRound = 12;
constexpr int32_t kWarmup = 4 * OverlapPolicy::kTrialPairs;

class Deaf final : public RequestObserver {
 public:
  void on_token(const GeneratedToken&) override {}
  void on_finished(const Finish& finish) override {
    CHECK(finish.reason == FinishReason::kCancelled);
  }
};

struct Case {
  int32_t num_sequences = 0;
  int32_t hidden_dim = 0;
  int32_t num_layers = 0;
};

// What all ways of walking share.
struct Model {
  explicit Model(const Case& which)
      : config(random_trunk_config(which.num_layers, which.hidden_dim)),
        trunk(random_trunk(config)),
        num_sequences(which.num_sequences) {}

  const ModelConfig config;
  const TrunkWeights trunk;
  const int32_t num_sequences;
  ThreadPool threads{1};
  const SystemClock clock;
};

// One way of walking, with sequences that decode for as long as they are asked to.
class Way {
 public:
  Way(Model* model, Overlap overlap, absl::Duration legs);

  // Seconds that it took.
  double step();

  // Steps that were halved of all since the last call.
  double share_halved();

 private:
  Deaf deaf_;
  EchoExperts experts_;
  LoopbackTransport loopback_;
  SlowLegs slow_;
  std::unique_ptr<ExpertLayer> moe_;
  std::unique_ptr<AttentionStack> stack_;
  int64_t num_steps_ = 0;
  int64_t num_halved_ = 0;
};

Way::Way(Model* model, Overlap overlap, absl::Duration legs) : slow_(&loopback_, &model->clock) {
  slow_.set_delay(legs);
  for (int32_t i = 0; i < kNumServers; ++i) loopback_.add_server(ServerId{i}, &experts_);
  moe_ = *ExpertLayer::create({.config = &model->config,
                               .gates = gate_weights(model->trunk),
                               .transport = &slow_,
                               .executor = &model->threads,
                               .clock = &model->clock},
                              Placement::even(model->config, kNumServers), {.max_tokens = 512});
  stack_ = *AttentionStack::create({.config = &model->config,
                                    .trunk = &model->trunk,
                                    .moe = moe_.get(),
                                    .executor = &model->threads,
                                    .clock = &model->clock},
                                   {.cache_tokens = model->num_sequences * 1024,
                                    .prefill_chunk = 512,
                                    .max_running = model->num_sequences,
                                    .num_ids = model->config.vocab_size,
                                    .overlap = overlap});
  for (int32_t i = 0; i < model->num_sequences; ++i) {
    Request request{.id = RequestId{static_cast<uint64_t>(i)}, .observer = &deaf_};
    for (int32_t k = 0; k < kDepth; ++k) request.prompt.push_back((31 * i + 7 * k) % 1024);
    request.sampling = {.temperature = 0.f, .max_tokens = 1024 - kDepth};
    CHECK(stack_->engine().submit(std::move(request)).ok());
  }
  Engine& engine = stack_->engine();
  do {
    CHECK(engine.step());
  } while (engine.num_waiting() > 0 || engine.last_step_tokens() > model->num_sequences);
  for (int32_t i = 0; i < kWarmup; ++i) CHECK(engine.step());
  share_halved();
}

double Way::step() {
  using SteadyClock = std::chrono::steady_clock;
  const SteadyClock::time_point begin = SteadyClock::now();
  CHECK(stack_->engine().step());
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

double Way::share_halved() {
  const Engine& engine = stack_->engine();
  const int64_t steps = engine.num_steps() - std::exchange(num_steps_, engine.num_steps());
  const int64_t now_halved = engine.walk().counters().num_halved_steps;
  const int64_t halved = now_halved - std::exchange(num_halved_, now_halved);
  return static_cast<double>(halved) / static_cast<double>(std::max<int64_t>(steps, 1));
}

// In the order of reporting.
enum WayIdx : size_t { kWhole, kHalves, kWholeLegs, kHalvesLegs, kAutoLegs, kAutoNone, kNumWays };
constexpr const char* kNames[kNumWays] = {"whole, no legs",   "halves, no legs",
                                          "whole, 1 ms legs", "halves, 1 ms legs",
                                          "auto, 1 ms legs",  "auto, no legs"};

struct Series {
  std::vector<double> step[kNumWays];  // medians of rounds
  std::vector<double> hidden;
  std::vector<double> halved_with_legs;
  std::vector<double> halved_without;
};

void run_round(std::vector<std::unique_ptr<Way>>* ways, Series* series) {
  std::vector<double> times[kNumWays];
  for (int32_t i = 0; i < kStepsPerRound; ++i) {
    for (size_t way = 0; way < kNumWays; ++way) times[way].push_back((*ways)[way]->step());
  }
  double median[kNumWays];
  for (size_t way = 0; way < kNumWays; ++way) {
    median[way] = spread_of(std::move(times[way])).median;
    series->step[way].push_back(median[way]);
  }
  series->hidden.push_back(1 - (median[kHalvesLegs] - median[kWhole]) /
                                   (median[kWholeLegs] - median[kWhole]));
  series->halved_with_legs.push_back((*ways)[kAutoLegs]->share_halved());
  series->halved_without.push_back((*ways)[kAutoNone]->share_halved());
}

void measure(const Case& which, int32_t rounds, const Report& report) {
  Model model(which);
  std::vector<std::unique_ptr<Way>> ways;
  for (const Overlap overlap : {Overlap::kOff, Overlap::kOn}) {
    ways.push_back(std::make_unique<Way>(&model, overlap, absl::ZeroDuration()));
  }
  for (const Overlap overlap : {Overlap::kOff, Overlap::kOn, Overlap::kAuto}) {
    ways.push_back(std::make_unique<Way>(&model, overlap, kLegs));
  }
  ways.push_back(std::make_unique<Way>(&model, Overlap::kAuto, absl::ZeroDuration()));
  Series series;
  for (int32_t i = 0; i < rounds; ++i) run_round(&ways, &series);
  const std::string name = absl::StrFormat("%d sequences, D %d, %d layers", which.num_sequences,
                                           which.hidden_dim, which.num_layers);
  for (size_t way = 0; way < kNumWays; ++way) {
    report.add({name, kNames[way], "s", spread_of(series.step[way])});
  }
  report.add({name, "share hidden", "share", spread_of(series.hidden)});
  report.add({name, "auto halved, 1 ms legs", "share", spread_of(series.halved_with_legs)});
  report.add({name, "auto halved, no legs", "share", spread_of(series.halved_without)});
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  using namespace conclave;
  const int32_t rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 7;
  const Report report("overlap");
  report_compute(report, measure_compute(inline_executor()));
  std::vector<Case> cases = {{32, 256, 16}, {2, 1024, 16}};
  if (argc == 5) cases = {{std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4])}};
  for (const Case& which : cases) measure(which, rounds, report);
  return 0;
}
