#include "services/expert_server/expert_worker.h"

#include <iterator>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"

namespace conclave {

ExpertWorker::ExpertWorker(const Parts& parts, const Options& options)
    : options_(options),
      clock_(parts.clock),
      metrics_(parts.metrics),
      source_(parts.source),
      num_experts_(parts.config->moe.gate.num_experts),
      weights_(parts.weights),
      bell_(source_ != nullptr ? source_->bell() : &own_bell_),
      engine_(*parts.config, parts.weights, parts.executor),
      batcher_(parts.config, parts.weights, &engine_,
               {.max_queued_jobs = options.max_queued_legs, .max_picks = options.max_batch_picks}),
      watch_(parts.clock),
      picks_(static_cast<size_t>(parts.config->num_layers) * static_cast<size_t>(num_experts_)),
      thread_([this] { work(); }) {}

ExpertWorker::~ExpertWorker() { stop(); }

void ExpertWorker::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changes_made_.notify_all();
  bell_->ring();
  if (thread_.joinable()) thread_.join();
}

void ExpertWorker::submit(ArrivedLeg leg, Done done) {
  std::optional<absl::Status> refused;
  {
    const std::lock_guard lock(mutex_);
    if (is_stopping_) {
      refused = absl::UnavailableError("this server is stopping");
    } else if (num_queued_ >= options_.max_queued_legs) {
      refused = absl::ResourceExhaustedError(
          absl::StrFormat("the queue is full with %d legs", num_queued_));
    } else {
      mailbox_.push_back({std::move(leg), std::move(done)});
      metrics_->set_queued_legs(++num_queued_);
    }
  }
  if (!refused) return bell_->ring();
  metrics_->on_answer({.code = refused->code()});
  done(*std::move(refused));
}

void ExpertWorker::take_in(ExpertWeights part) { post({.part = std::move(part), .gone = {}}); }

void ExpertWorker::let_go(ExpertSet gone) { post({.part = std::nullopt, .gone = std::move(gone)}); }

void ExpertWorker::post(Change change) {
  {
    const std::lock_guard lock(mutex_);
    changes_.push_back(std::move(change));
    ++num_changes_posted_;
  }
  bell_->ring();
}

void ExpertWorker::wait_for_changes() {
  std::unique_lock lock(mutex_);
  const int64_t posted = num_changes_posted_;
  changes_made_.wait(lock, [&] { return num_changes_made_ >= posted || is_stopping_; });
}

ExpertLoad ExpertWorker::load() const {
  const std::lock_guard lock(mutex_);
  ExpertLoad load{.num_queued_legs = num_queued_};
  for (auto layer = picks_.begin(); layer != picks_.end(); layer += num_experts_) {
    load.picks.push_back(std::accumulate(layer, layer + num_experts_, int64_t{0}));
  }
  return load;
}

std::vector<int64_t> ExpertWorker::picks_of(const ExpertSet& experts) const {
  std::vector<int64_t> picks;
  const std::lock_guard lock(mutex_);
  experts.for_each([&](int32_t layer, int32_t expert) {
    picks.push_back(picks_[static_cast<size_t>(int64_t{layer} * num_experts_ + expert)]);
  });
  return picks;
}

void ExpertWorker::work() {
  while (take_arrivals()) {
    watch_.progress(/*has_work=*/true);
    run_batch();
    watch_.progress(!taken_.empty());
  }
}

// Takes all legs that have come; waits for one where there is nothing to do. False at the end.
bool ExpertWorker::take_arrivals() {
  while (true) {
    const uint32_t ticket = bell_->ticket();
    if (source_ != nullptr) source_->poll(this);
    if (has_arrivals() || !taken_.empty()) break;
    bell_->wait(ticket, absl::InfiniteDuration());
  }
  Legs arrivals;
  std::vector<Change> changes;
  bool is_over = false;
  {
    const std::lock_guard lock(mutex_);
    arrivals.swap(mailbox_);
    changes.swap(changes_);
    is_over = is_stopping_ && arrivals.empty();
  }
  make_changes(std::move(changes));
  if (is_over && taken_.empty()) return false;
  while (!arrivals.empty()) {
    taken_.splice(taken_.end(), arrivals, arrivals.begin());
    submit_job(std::prev(taken_.end()));
  }
  return true;
}

// Legs, changes, or the end.
bool ExpertWorker::has_arrivals() {
  const std::lock_guard lock(mutex_);
  return !mailbox_.empty() || !changes_.empty() || is_stopping_;
}

// Legs that were taken before and ask for what is gone now are answered so.
void ExpertWorker::make_changes(std::vector<Change> changes) {
  if (changes.empty()) return;
  const auto num_changes = static_cast<int64_t>(changes.size());
  bool has_less = false;
  for (Change& change : changes) {
    if (change.part) {
      weights_->add(*change.part);
      change.part.reset();  // what goes again below is to be free then
    } else {
      weights_->remove(change.gone);
      has_less = true;
    }
  }
  if (has_less) batcher_.refuse_unheld();
  {
    const std::lock_guard lock(mutex_);
    num_changes_made_ += num_changes;
  }
  changes_made_.notify_all();
}

// The job's views are of the leg, which stays in its place until it is answered.
void ExpertWorker::submit_job(Legs::iterator leg) {
  const ArrivedLeg& frame = leg->frame;
  batcher_.submit(
      {.layer_idx = frame.layer_idx,
       .pick_begin = frame.pick_begin,
       .pick_expert = frame.pick_expert,
       .row_type = frame.hidden.dtype,
       .num_cols = frame.hidden.num_cols,
       .rows = frame.hidden.bytes,
       .reply_type = frame.reply_type,
       .done = [this, leg](absl::StatusOr<SharedBytes> said) { finish(leg, std::move(said)); }});
}

void ExpertWorker::run_batch() {
  const absl::Time start = clock_->now();
  batch_picks_ = 0;
  if (batcher_.run_once()) metrics_->on_step(batch_picks_, clock_->now() - start);
}

void ExpertWorker::finish(Legs::iterator leg, absl::StatusOr<SharedBytes> said) {
  Legs answered;
  answered.splice(answered.begin(), taken_, leg);
  const ArrivedLeg& frame = leg->frame;
  const auto num_picks = static_cast<int64_t>(frame.pick_expert.size());
  {
    const std::lock_guard lock(mutex_);
    metrics_->set_queued_legs(--num_queued_);
    if (said.ok()) {
      const auto layer = picks_.begin() + int64_t{frame.layer_idx} * num_experts_;
      for (const int32_t expert : frame.pick_expert) ++*(layer + expert);
    }
  }
  if (said.ok()) batch_picks_ += num_picks;
  metrics_->on_answer({.code = said.status().code(),
                       .num_rows = frame.hidden.num_rows,
                       .num_picks = num_picks,
                       .bytes_in = static_cast<int64_t>(frame.hidden.bytes.size()),
                       .bytes_out = said.ok() ? static_cast<int64_t>(said->size()) : 0});
  leg->done(std::move(said));
}

}  // namespace conclave
