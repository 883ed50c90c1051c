// An expert server as a simulated process: the real batcher and engine behind a mailbox, as
// services/expert_server/expert_worker.cc has it. A batch takes time; legs that come meanwhile
// wait and are merged.
//
// One that is managed follows control's orders as services/expert_server/expert_keeper.cc does: it
// lets go at once and loads an expert at a time.
//
// Every answer is held against what the server was told to hold, which is not what its batcher
// looks at.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "experts/expert_batcher.h"
#include "router/arrived_leg.h"
#include "tests/simulation/sim_control_client.h"
#include "tests/simulation/sim_random.h"

namespace conclave {

class SimExpertServer {
 public:
  struct Options {
    std::string name;
    int32_t max_queued_legs = 64;
    absl::Duration pace = absl::Microseconds(500);  // of a batch
    bool managed = false;
    int64_t num_slots = 1 << 20;                       // experts that it has room for
    absl::Duration load_time = absl::Milliseconds(1);  // of an expert
  };

  // `control` outlives this.
  SimExpertServer(const SimWorldParts& parts, SimControl* control, const Options& options);

  // As a new process. Where this changes what a running server holds, load() does.
  void start(const ExpertSet& held);
  void kill();
  // SIGTERM: announces that it drains, and ends when control lets it.
  void drain();

  // Whether it holds just these, and said so when it joined.
  bool is_as_planned(const ExpertSet& held) const { return held_ == held && told_ == held; }
  bool managed() const { return options_.managed; }

  // From now on it holds these, while it runs, which nobody has ordered: the next hello says so. No
  // effect on one that is managed, which does no such thing.
  void load(const ExpertSet& held);

  void set_slowness(double factor) { slowness_ = factor; }
  void set_full(bool full) { full_ = full; }

  SimProcess* process() { return &process_; }
  const std::string& name() const { return process_.name(); }

  // A leg that has come; in this process. `done` may be called later, or never.
  void receive(ArrivedLeg leg, LegHandler::Done done);

 private:
  struct Leg {
    ArrivedLeg frame;
    LegHandler::Done done;
  };
  // Of one incarnation, in the order of lives.
  struct State {
    State(const ExpertWeights& experts, int32_t max_queued_jobs);

    int64_t num_orders = 0;  // so that the loading for an earlier one ends

    HeldExperts weights;
    ExpertEngine engine;
    ExpertBatcher batcher;
    std::list<Leg> legs;  // stay in their places until they are answered
    bool is_working = false;
    std::unique_ptr<SimControlClient> client;
  };

  ServerFacts facts();
  Heartbeat heartbeat() const;
  void follow(const ExpertOrder& order);
  void load_next();
  void work();
  void finish(std::list<Leg>::iterator leg, absl::StatusOr<SharedBytes> said);
  ExpertWeights weights_of(const ExpertSet& held) const;
  void check_answer(const ArrivedLeg& leg);
  SharedBytes spoil(SharedBytes rows);

  const SimWorldParts parts_;
  const Options options_;
  SimControl* const control_;
  SimProcess process_;
  SimRandom random_;
  ExpertSet held_;
  ExpertSet told_;  // in the last hello
  ExpertSet hold_;  // what it is to hold, by control's order
  int64_t order_ = 0;
  bool draining_ = false;
  bool full_ = false;
  double slowness_ = 1;
  int64_t num_answers_ = 0;
  std::unique_ptr<State> state_;  // while it lives
};

}  // namespace conclave
