// Somebody who watches something of the loop's: a stream that gets every change, and of several
// that were not sent yet the last alone.
//
// Lives from its call to its OnDone(), behind which the loop deletes it. The loop's thread calls
// push() and end().
#pragma once

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "router/wire/grpc_handoff.h"
#include "router/wire/grpc_status.h"
#include "services/gateway/event_loop.h"
#include "services/server/call_queue.h"

namespace conclave {

template <typename Update>
class WatchCall final : public grpc::ServerWriteReactor<Update> {
 public:
  using Watchers = std::set<WatchCall*>;

  // The call is among `watchers`, which are the loop's, while it lives; `begin` is called on the
  // loop's thread once it is.
  WatchCall(EventLoop* loop, Watchers* watchers, std::function<void(WatchCall*)> begin)
      : loop_(loop), watchers_(watchers) {
    hand_to_grpc(this);
    loop->post([this, begin = std::move(begin)] {
      watchers_->insert(this);
      begin(this);
    });
  }

  void push(Update update) { act(queue_.push(std::move(update))); }
  void end(const absl::Status& status) { act(queue_.end(status)); }

  // gRPC's threads.
  void OnWriteDone(bool ok) override {
    const GrpcReaction reaction(this);
    act(queue_.written(ok));
  }
  void OnCancel() override {
    const GrpcReaction reaction(this);
    loop_->post([this] { end(absl::CancelledError("the watcher is gone")); });
  }
  void OnDone() override {
    take_from_grpc(this);
    loop_->post([this] {
      watchers_->erase(this);
      delete this;
    });
  }

 private:
  static bool replace(Update* last, Update* next) {
    last->Swap(next);
    return true;
  }

  void act(const typename CallQueue<Update>::Action& action) {
    hand_to_grpc(this);
    if (action.write != nullptr) return this->StartWrite(action.write);
    if (action.finish) this->Finish(to_grpc(*action.finish));
  }

  EventLoop* const loop_;
  Watchers* const watchers_;
  CallQueue<Update> queue_{&WatchCall::replace};
};

}  // namespace conclave
