#include "services/server/placement_watcher.h"

#include <grpcpp/client_context.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "proto/control.grpc.pb.h"
#include "router/wire/grpc_status.h"
#include "router/wire/reconnect_pause.h"
#include "services/server/control_channel.h"
#include "services/server/control_codec.h"
#include "services/server/log.h"

namespace conclave {

class PlacementWatcher::Impl {
 public:
  Impl(Options options, std::function<void(ClusterView)> on_view)
      : options_(std::move(options)),
        on_view_(std::move(on_view)),
        stub_(v1::Control::NewStub(make_control_channel(options_.control))),
        pause_({.first = options_.first_pause, .longest = options_.longest_pause}),
        thread_([this] { run(); }) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
      if (context_ != nullptr) context_->TryCancel();
      changed_.notify_all();
    }
    thread_.join();
  }

 private:
  void run();
  absl::Status watch(grpc::ClientContext* context);
  void take(const v1::PlacementUpdate& update);
  bool begin(grpc::ClientContext* context);
  bool pause();

  const Options options_;
  const std::function<void(ClusterView)> on_view_;
  const std::unique_ptr<v1::Control::Stub> stub_;

  // Of the watcher's thread.
  ReconnectPause pause_;
  std::string logged_;
  int64_t last_version_ = -1;

  std::mutex mutex_;
  std::condition_variable changed_;
  grpc::ClientContext* context_ = nullptr;  // of the stream under way
  bool is_stopping_ = false;

  std::thread thread_;  // last: it uses all of the above
};

void PlacementWatcher::Impl::run() {
  do {
    grpc::ClientContext context;
    if (!begin(&context)) return;
    const absl::Status end = watch(&context);
    {
      const std::lock_guard lock(mutex_);
      context_ = nullptr;
      if (is_stopping_) return;
    }
    if (end.ToString() != logged_) {
      logged_ = end.ToString();
      log_warn("placements stopped", {{"control", options_.control}, {"status", end}});
    }
  } while (pause());
}

absl::Status PlacementWatcher::Impl::watch(grpc::ClientContext* context) {
  v1::WatchPlacementRequest request;
  request.set_server_id(options_.server_id);
  const auto reader = stub_->WatchPlacement(context, request);
  for (v1::PlacementUpdate update; reader->Read(&update);) {
    pause_.reset();
    take(update);
  }
  return from_grpc(reader->Finish());
}

void PlacementWatcher::Impl::take(const v1::PlacementUpdate& update) {
  absl::StatusOr<ClusterView> view = from_proto(update, *options_.config);
  if (!view.ok()) {
    log_error("placement dropped", {{"version", update.version()}, {"status", view.status()}});
    return;
  }
  logged_.clear();
  if (view->version == last_version_) return;
  last_version_ = view->version;
  log_debug("placement", {{"version", view->version}, {"servers", view->servers.size()}});
  on_view_(*std::move(view));
}

bool PlacementWatcher::Impl::begin(grpc::ClientContext* context) {
  const std::lock_guard lock(mutex_);
  context_ = context;
  return !is_stopping_;
}

bool PlacementWatcher::Impl::pause() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, absl::ToChronoNanoseconds(pause_.next()),
                    [this] { return is_stopping_; });
  return !is_stopping_;
}

PlacementWatcher::PlacementWatcher(Options options, std::function<void(ClusterView)> on_view)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(on_view))) {}

PlacementWatcher::~PlacementWatcher() = default;

}  // namespace conclave
