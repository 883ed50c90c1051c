// The engine thread of an expert server and the mailbox in front of it.
//
// gRPC's threads put legs into the mailbox and return; what comes through shared memory the engine
// thread fetches itself. It takes all that have come, checks them and runs them layer by layer
// through ExpertBatcher, which never waits for more; it sleeps when there is nothing. Over the
// limit of legs a leg is refused at once with RESOURCE_EXHAUSTED.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/executor.h"
#include "experts/expert_batcher.h"
#include "experts/expert_engine.h"
#include "experts/held_experts.h"
#include "gateway/server_facts.h"
#include "model/config/model_config.h"
#include "model/weights/weights.h"
#include "router/leg_source.h"
#include "services/expert_server/expert_metrics.h"
#include "services/server/progress_watch.h"

namespace conclave {

class ExpertWorker final : public LegHandler {
 public:
  struct Options {
    int32_t max_queued_legs = 4096;
    int32_t max_batch_picks = 8192;
  };
  // All outlive the worker.
  struct Parts {
    const ModelConfig* config = nullptr;
    HeldExperts* weights = nullptr;  // changed by the engine thread, nobody else reads it
    Executor* executor = nullptr;    // of the engine thread, nobody else's
    const Clock* clock = nullptr;
    ExpertMetrics* metrics = nullptr;
    LegSource* source = nullptr;  // asked by the engine thread; null: legs come by submit() alone
  };

  // Takes the engine's scratch and starts the thread.
  ExpertWorker(const Parts& parts, const Options& options);

  // stop()
  ~ExpertWorker() override;

  // Thread-safe; never blocks for long.
  void submit(ArrivedLeg leg, Done done) override;

  // From now on legs may ask for what `part` has, or are answered with NOT_FOUND for what is gone.
  // The engine thread makes it so between two batches, before it looks at any leg that comes after
  // the call; memory goes back then. Thread-safe, at once.
  void take_in(ExpertWeights part);
  void let_go(ExpertSet gone);

  // Waits until everything taken in or let go before has come or gone, and memory with it, or the
  // worker is stopped. Thread-safe, but not for the engine thread.
  void wait_for_changes();

  // Queued legs, and picks answered so far by layer. Thread-safe.
  ExpertLoad load() const;

  // Picks answered so far by expert of `experts`, in ascending order of layer, then expert.
  // Thread-safe.
  std::vector<int64_t> picks_of(const ExpertSet& experts) const;

  // The thread has legs and has not got on for `limit`. Thread-safe.
  bool is_stuck(absl::Duration limit) const { return watch_.is_stuck(limit); }

  // Answers what has come, refuses what comes with UNAVAILABLE, joins the thread. One thread.
  void stop();

 private:
  struct Leg {
    ArrivedLeg frame;
    Done done;
  };
  using Legs = std::list<Leg>;

  // Of what is held: one of the two.
  struct Change {
    std::optional<ExpertWeights> part;
    ExpertSet gone;
  };

  void work();
  void post(Change change);
  void make_changes(std::vector<Change> changes);
  bool take_arrivals();
  bool has_arrivals();
  void run_batch();
  void submit_job(Legs::iterator leg);
  void finish(Legs::iterator leg, absl::StatusOr<SharedBytes> said);

  const Options options_;
  const Clock* const clock_;
  ExpertMetrics* const metrics_;
  LegSource* const source_;
  const int32_t num_experts_;  // E
  HeldExperts* const weights_;
  DoorbellWord own_word_;
  Doorbell own_bell_{&own_word_};
  Doorbell* const bell_;  // the source's, where there is one: the engine thread sleeps on it

  // Of the engine thread.
  ExpertEngine engine_;
  ExpertBatcher batcher_;
  Legs taken_;               // that the batcher has jobs for; their memory stays where it is
  int64_t batch_picks_ = 0;  // answered by the run under way
  ProgressWatch watch_;

  mutable std::mutex mutex_;
  Legs mailbox_;
  std::vector<Change> changes_;
  int64_t num_changes_posted_ = 0;
  int64_t num_changes_made_ = 0;
  std::condition_variable changes_made_;
  int32_t num_queued_ = 0;      // in the mailbox or taken
  std::vector<int64_t> picks_;  // [L * E] answered since the start
  bool is_stopping_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace conclave
