// An attention node as a simulated process: real engine, scheduler, cache, layer walk and expert
// layer, driven as services/attention_node/node_loop.cc drives them, by a step thread that is a
// SimTask: it blocks in the middle of a step, for legs and for the time that attention takes.
//
// Killed in the middle of a step, it finds all its legs UNAVAILABLE, comes to the end of the step
// and is gone; nobody hears what it said after its death.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attention/engine.h"
#include "gateway/node_link.h"
#include "router/expert_layer.h"
#include "tests/simulation/sim_control_client.h"
#include "tests/simulation/sim_random.h"
#include "tests/simulation/sim_task.h"
#include "tests/simulation/sim_transport.h"

namespace conclave {

// What a node says of a run; both run in the gateway's process. Failures end the stream.
struct RunVoice {
  std::function<void(RunBatch)> tokens;
  std::function<void(RunEnd)> finished;
};

class SimNode {
 public:
  struct Options {
    std::string name;
    int32_t num_pages = 64;
    int32_t prefill_chunk = 16;
    int32_t max_running = 4;
    int32_t max_requests = 8;                       // as it tells control
    int32_t real_max_requests = 8;                  // as it has room for: fewer makes it refuse
    absl::Duration pace = absl::Microseconds(300);  // of attention, a layer
    absl::Duration leg_timeout = absl::Seconds(1);
    Overlap overlap = Overlap::kAuto;
  };

  // `find` gives the expert server of a name.
  SimNode(const SimWorldParts& parts, SimControl* control,
          std::function<SimExpertServer*(const std::string&)> find, const Options& options);
  ~SimNode();

  void start();
  void kill();
  void stop() { process_.stop(); }
  void go_on();
  void drain();
  bool draining() const { return draining_; }

  SimProcess* process() { return &process_; }
  const std::string& name() const { return process_.name(); }

  // Adds what this incarnation has done to the world's counts; kill() does it.
  // REQUIRES: the process lives
  void count() const;

  // Attention.Run; in this process.
  void run(StreamId stream, const NodeRequest& request, RunVoice voice);

  // REQUIRES for these: the process lives
  const Engine& engine() const;
  int64_t placement_version() const;

 private:
  class Run;
  class TimedAttention;
  struct State;

  void loop();
  void handle_mail();
  void plan_retry();
  void block(absl::Time until);
  void wake();
  void sleep(absl::Duration duration);
  ServerFacts facts() const;
  Heartbeat heartbeat() const;

  const SimWorldParts parts_;
  const Options options_;
  SimControl* const control_;
  const std::function<SimExpertServer*(const std::string&)> find_;
  SimProcess process_;
  SimRandom random_;
  bool draining_ = false;
  bool spoiled_ = false;          // sabotage happens once
  std::unique_ptr<State> state_;  // while it lives
};

}  // namespace conclave
