// One model in this process, driven as an attention node drives it, a test at a time: bench/model/
// model.py says on stdin what to measure next, so that others can be measured in turn.
//
//   prefill N                 a prompt of N ids up to its first token
//   decode DEPTH COUNT        COUNT tokens of one sequence after a prompt of DEPTH ids (0: of one)
//   together DEPTH S COUNT    COUNT steps of S sequences, each after a prompt of DEPTH ids
//   limits                    what the machine does at most now, as lines of the report
//   memory                    the process's highest use so far
//
// Each but limits is answered with {"seconds": x, "tokens": n} or {"bytes": n}; stdout's first line
// is {"ready": seconds of loading}.
//
// usage: bench_model DIR [the engine's flags, as of `conclave generate`]

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "bench/limits/limits.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "services/conclave/flags.h"
#include "services/local/local_model.h"

namespace conclave {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int32_t kMostSequences = 32;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class Counter final : public RequestObserver {
 public:
  void on_token(const GeneratedToken&) override { ++num_tokens; }
  void on_finished(const Finish& finish) override {
    finished = true;
    status = finish.status;
  }

  int32_t num_tokens = 0;
  bool finished = false;
  absl::Status status;
};

struct Measured {
  double seconds = 0;
  int64_t tokens = 0;
};

class ModelBench {
 public:
  ModelBench(const ModelFolder& folder, LocalModel* model)
      : num_ids_(folder.num_drawable_ids()), engine_(model->engine()) {}

  absl::StatusOr<Measured> prefill(int32_t num_ids);
  absl::StatusOr<Measured> together(int32_t depth, int32_t num_sequences, int32_t num_steps);

 private:
  absl::Status submit(int32_t num_ids, int32_t max_tokens, Counter* counter);

  const int32_t num_ids_;
  Engine& engine_;
  std::mt19937 rng_{7};
  uint64_t num_requests_ = 0;
};

absl::Status ModelBench::submit(int32_t num_ids, int32_t max_tokens, Counter* counter) {
  Request request{.id = RequestId{++num_requests_}, .observer = counter};
  std::uniform_int_distribution<int32_t> any_id(2, num_ids_ - 1);
  for (int32_t i = 0; i < num_ids; ++i) request.prompt.push_back(any_id(rng_));
  request.sampling = {.temperature = 0.f, .max_tokens = max_tokens};
  return engine_.submit(std::move(request));
}

absl::StatusOr<Measured> ModelBench::prefill(int32_t num_ids) {
  Counter counter;
  const Clock::time_point begin = Clock::now();
  RETURN_IF_ERROR(submit(num_ids, 1, &counter));
  while (!counter.finished) CHECK(engine_.step());
  RETURN_IF_ERROR(counter.status);
  return Measured{.seconds = seconds_since(begin), .tokens = num_ids};
}

// All have their prompts behind them before the clock starts; those that waited for others have
// gone on generating meanwhile.
absl::StatusOr<Measured> ModelBench::together(int32_t depth, int32_t num_sequences,
                                              int32_t num_steps) {
  std::vector<std::unique_ptr<Counter>> counters;
  for (int32_t i = 0; i < num_sequences; ++i) {
    counters.push_back(std::make_unique<Counter>());
    RETURN_IF_ERROR(submit(std::max(depth, 1), num_steps + 64, counters.back().get()));
  }
  const auto all_begun = [&] {
    for (const auto& counter : counters) {
      if (counter->num_tokens == 0) return false;
    }
    return true;
  };
  while (!all_begun()) CHECK(engine_.step());
  const Clock::time_point begin = Clock::now();
  for (int32_t i = 0; i < num_steps; ++i) CHECK(engine_.step());
  const Measured measured{.seconds = seconds_since(begin),
                          .tokens = static_cast<int64_t>(num_steps) * num_sequences};
  for (const auto& counter : counters) {
    if (counter->finished) return absl::InternalError("a sequence ended while it was measured");
  }
  for (int32_t i = 0; i < num_sequences; ++i) {
    engine_.cancel(RequestId{num_requests_ - static_cast<uint64_t>(i)});
  }
  while (engine_.step()) {
  }
  return measured;
}

// "VmHWM:  123 kB".
int64_t peak_bytes() {
  std::ifstream file("/proc/self/status");
  int64_t kib = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmHWM:")) kib = std::stoll(line.substr(6));
  }
  return kib * 1024;
}

void print(const nlohmann::json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

absl::Status answer(const std::string& line, ModelBench* bench, int32_t num_threads) {
  std::istringstream words(line);
  std::string what;
  int32_t depth = 0;
  int32_t second = 0;
  int32_t third = 0;
  words >> what >> depth >> second >> third;
  if (what == "memory") {
    print({{"bytes", peak_bytes()}});
    return absl::OkStatus();
  }
  if (what == "limits") {
    ThreadPool pool(num_threads);
    report_compute(Report("model"), measure_compute(&pool));
    print({{"done", true}});
    return absl::OkStatus();
  }
  absl::StatusOr<Measured> measured = absl::InvalidArgumentError("no test " + line);
  if (what == "prefill") measured = bench->prefill(depth);
  if (what == "decode") measured = bench->together(depth, 1, second);
  if (what == "together") measured = bench->together(depth, second, third);
  RETURN_IF_ERROR(measured.status());
  print({{"seconds", measured->seconds}, {"tokens", measured->tokens}});
  return absl::OkStatus();
}

absl::Status run(const std::string& dir, const RuntimeFlags& flags) {
  const Clock::time_point begin = Clock::now();
  ASSIGN_OR_RETURN(const ModelFolder folder, read_model_folder(dir));
  const int32_t most_tokens = std::min(folder.config.max_positions, 4096);
  ASSIGN_OR_RETURN(LocalModel::Options options, flags.resolve(folder.config, most_tokens));
  options.max_running = kMostSequences;
  options.cache_tokens = std::max(options.cache_tokens, kMostSequences * 320);
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalModel> model, LocalModel::load(folder, options, {}));
  print({{"ready", seconds_since(begin)}});
  ModelBench bench(folder, model.get());
  for (std::string line; std::getline(std::cin, line);) {
    RETURN_IF_ERROR(answer(line, &bench, options.threads));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  CLI::App app("One model in this process, measured");
  std::string dir;
  conclave::RuntimeFlags flags;
  app.add_option("DIR", dir, "Folder of the model")->required();
  flags.add_to(&app);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = conclave::run(dir, flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "bench_model: %s\n", status.ToString().c_str());
  return 1;
}
