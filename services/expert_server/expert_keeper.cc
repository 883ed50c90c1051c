#include "services/expert_server/expert_keeper.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/host_memory.h"
#include "common/status_macros.h"
#include "services/expert_server/low_priority.h"
#include "services/server/log.h"

namespace conclave {
namespace {

constexpr size_t kMaxProblemBytes = 250;  // before escaping; control takes 1,024

}  // namespace

ExpertKeeper::ExpertKeeper(const Parts& parts, Options options, ExpertSet held)
    : parts_(parts),
      options_(std::move(options)),
      held_(std::move(held)),
      hold_(held_),
      thread_([this] { run(); }) {}

ExpertKeeper::~ExpertKeeper() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Holding ExpertKeeper::begin_line() {
  const std::lock_guard lock(mutex_);
  order_ = 0;
  return holding_now();
}

Holding ExpertKeeper::holding() const {
  const std::lock_guard lock(mutex_);
  return holding_now();
}

Holding ExpertKeeper::holding_now() const {
  return {.held = held_,
          .held_bytes = static_cast<uint64_t>(held_.size()) * parts_.folder->size.expert_bytes,
          .order = order_,
          .problem = problem_,
          .picks = {}};
}

void ExpertKeeper::order(ExpertOrder order) {
  const std::lock_guard lock(mutex_);
  const ExpertSet gone = held_.minus(order.hold);
  const ExpertSet missing = order.hold.minus(held_);
  log_info("ordered", {{"order", order.order},
                       {"num_experts", order.hold.size()},
                       {"release", gone.size()},
                       {"load", missing.size()}});
  order_ = order.order;
  hold_ = std::move(order.hold);
  problem_.clear();
  if (!gone.empty()) {
    held_ = held_.minus(gone);
    parts_.worker->let_go(gone);
    parts_.metrics->on_released(gone.size());
    has_released_ = true;
  }
  tell_metrics();
  changed_.notify_all();
}

void ExpertKeeper::run() {
  lower_priority();
  Lock lock(mutex_);
  tell_metrics();
  while (!is_stopping_) {
    const ExpertSet part = next_part();
    if (part.empty() || !problem_.empty()) {
      changed_.wait(lock);
    } else if (std::exchange(has_released_, false)) {
      wait_for_room(&lock);
    } else {
      load_part(part, &lock);
    }
  }
}

// Of the first layer that lacks something, about part_bytes; layer by layer, for a layer that is
// whole again is worth more than halves of two.
ExpertSet ExpertKeeper::next_part() const {
  const ExpertSet missing = hold_.minus(held_);
  ExpertSet part(missing.num_layers(), missing.num_experts());
  const auto most = static_cast<int64_t>(
      std::max<uint64_t>(1, options_.part_bytes / parts_.folder->size.expert_bytes));
  for (int32_t layer = 0; layer < missing.num_layers() && part.empty(); ++layer) {
    for (const ExpertSpan& span : missing.spans(layer)) {
      for (int32_t i = 0; i < span.count && part.size() < most; ++i) {
        part.insert(layer, span.first + i);
      }
    }
  }
  return part;
}

// What is over the capacity was not planned well; what is over the memory was not known.
absl::Status ExpertKeeper::check_room(const ExpertSet& part) const {
  const uint64_t expert_bytes = parts_.folder->size.expert_bytes;
  const uint64_t bytes = static_cast<uint64_t>(part.size()) * expert_bytes;
  const uint64_t after = static_cast<uint64_t>(held_.size()) * expert_bytes + bytes;
  const uint64_t available = host_memory().available_bytes;
  if (after > options_.capacity_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the experts ordered need %s and more, the room for them is %s",
                        format_bytes(after), format_bytes(options_.capacity_bytes)));
  }
  if (bytes <= available || options_.overcommit) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat("%d experts need %s of %s available memory",
                                                      part.size(), format_bytes(bytes),
                                                      format_bytes(available)));
}

// What was let go makes room only when the engine has let go of it, and the heap.
void ExpertKeeper::wait_for_room(Lock* lock) {
  lock->unlock();
  parts_.worker->wait_for_changes();
  give_back_freed_memory();
  lock->lock();
}

absl::StatusOr<ExpertWeights> ExpertKeeper::read_part(const ExpertSet& part) const {
  const absl::Time start = absl::Now();
  const ModelFolder& folder = *parts_.folder;
  ASSIGN_OR_RETURN(ExpertWeights loaded,
                   load_experts(*folder.checkpoint, folder.config, part, [](uint64_t, uint64_t) {},
                                {.types = folder.weights()}));
  parts_.metrics->on_loaded(part.size(), loaded.num_bytes, absl::Now() - start);
  return loaded;
}

void ExpertKeeper::load_part(const ExpertSet& part, Lock* lock) {
  const absl::Status room = check_room(part);
  lock->unlock();
  auto weights = room.ok() ? read_part(part) : room;
  lock->lock();
  const ExpertSet wanted = part.intersect(hold_);  // some may have been ordered away meanwhile
  if (weights.ok()) {
    parts_.worker->take_in(*std::move(weights));
    if (wanted.size() < part.size()) {
      parts_.worker->let_go(part.minus(wanted));
      has_released_ = true;
    }
    held_.insert_all(wanted);
  } else if (!wanted.empty()) {
    log_error("experts cannot be loaded",
              {{"experts", part.to_string()}, {"status", weights.status()}});
    // Errors name what files hold, which may be anything; control takes a line of text.
    problem_ = absl::CHexEscape(weights.status().ToString().substr(0, kMaxProblemBytes));
  }
  tell_metrics();
  lock->unlock();
  options_.on_change();
  lock->lock();
}

void ExpertKeeper::tell_metrics() const {
  parts_.metrics->set_weights(
      static_cast<uint64_t>(held_.size()) * parts_.folder->size.expert_bytes, held_.size());
  parts_.metrics->set_missing(hold_.minus(held_).size());
}

}  // namespace conclave
