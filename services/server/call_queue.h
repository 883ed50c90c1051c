// What a server-streaming call has still to write: messages in order, one write at a time, then the
// end. The reactor that owns it starts what next() says.
//
// Thread-safe. Messages that can be merged are (`merge`), so that a slow reader costs one message
// of memory and not one per event.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"

namespace conclave {

template <typename Message>
class CallQueue {
 public:
  // Says whether `next` went into `last`.
  using Merge = std::function<bool(Message* last, Message* next)>;

  explicit CallQueue(Merge merge = [](Message*, Message*) { return false; })
      : merge_(std::move(merge)) {}

  // What the reactor is to do now, if anything: StartWrite() of `write`, or Finish() with `finish`
  // and not touch itself again.
  struct Action {
    const Message* write = nullptr;  // stays as it is until written()
    std::optional<absl::Status> finish;
  };

  Action push(Message message) {
    const std::lock_guard lock(mutex_);
    if (end_) return {};
    if (waiting_.empty() || !merge_(&waiting_.back(), &message)) {
      waiting_.push_back(std::move(message));
    }
    return next();
  }

  // Nothing is pushed any more; the first end counts.
  Action end(absl::Status status) {
    const std::lock_guard lock(mutex_);
    if (!end_) end_ = std::move(status);
    return next();
  }

  // OnWriteDone(ok). After a write that failed nothing else is written.
  Action written(bool ok) {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    broken_ = broken_ || !ok;
    return next();
  }

 private:
  Action next() {
    if (writing_ || finished_) return {};
    if (!waiting_.empty() && !broken_) {
      writing_ = true;
      out_ = std::move(waiting_.front());
      waiting_.pop_front();
      return {.write = &out_};
    }
    if (!end_) return {};
    finished_ = true;
    return {.finish = end_};
  }

  const Merge merge_;
  std::mutex mutex_;
  std::deque<Message> waiting_;
  Message out_;  // gRPC's while writing_
  bool writing_ = false;
  bool broken_ = false;
  bool finished_ = false;
  std::optional<absl::Status> end_;
};

}  // namespace conclave
