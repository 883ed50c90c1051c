// Reads a server's stream of updates for as long as this lives, on a thread of its own: the stream
// is started again when it breaks, with pauses from 100 ms to 2 s, and the first of several equal
// failures is logged.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "router/wire/grpc_status.h"
#include "router/wire/reconnect_pause.h"
#include "services/server/log.h"

namespace conclave {

template <typename Update>
class WatchThread {
 public:
  struct Options {
    std::string what;  // that is watched, for the log
    std::string from;  // HOST:PORT, for the log
    absl::Duration first_pause = absl::Milliseconds(100);
    absl::Duration longest_pause = absl::Seconds(2);
  };
  using Open = std::function<std::unique_ptr<grpc::ClientReader<Update>>(grpc::ClientContext*)>;

  // Starts the thread, which calls both; `take` in the order of arrival.
  WatchThread(Options options, Open open, std::function<void(const Update&)> take)
      : options_(std::move(options)),
        open_(std::move(open)),
        take_(std::move(take)),
        pause_({.first = options_.first_pause, .longest = options_.longest_pause}),
        thread_([this] { run(); }) {}

  // Ends the stream and joins the thread: no call comes after.
  ~WatchThread() {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
      if (context_ != nullptr) context_->TryCancel();
      changed_.notify_all();
    }
    thread_.join();
  }

  WatchThread(const WatchThread&) = delete;
  WatchThread& operator=(const WatchThread&) = delete;

 private:
  void run() {
    do {
      grpc::ClientContext context;
      if (!begin(&context)) return;
      const absl::Status end = read(&context);
      if (!finish()) return;
      if (end.ToString() == logged_) continue;
      logged_ = end.ToString();
      log_warn("stopped hearing",
               {{"what", options_.what}, {"from", options_.from}, {"status", end}});
    } while (pause());
  }

  absl::Status read(grpc::ClientContext* context) {
    const auto reader = open_(context);
    for (Update update; reader->Read(&update);) {
      pause_.reset();
      logged_.clear();
      take_(update);
    }
    return from_grpc(reader->Finish());
  }

  // From here to finish() the destructor can cancel the stream.
  bool begin(grpc::ClientContext* context) {
    const std::lock_guard lock(mutex_);
    context_ = context;
    return !is_stopping_;
  }

  bool finish() {
    const std::lock_guard lock(mutex_);
    context_ = nullptr;
    return !is_stopping_;
  }

  bool pause() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, absl::ToChronoNanoseconds(pause_.next()),
                      [this] { return is_stopping_; });
    return !is_stopping_;
  }

  const Options options_;
  const Open open_;
  const std::function<void(const Update&)> take_;

  // Of the thread.
  ReconnectPause pause_;
  std::string logged_;

  std::mutex mutex_;
  std::condition_variable changed_;
  grpc::ClientContext* context_ = nullptr;  // of the stream under way
  bool is_stopping_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace conclave
