#include "services/server/placement_watcher.h"

#include <utility>

#include "proto/control.grpc.pb.h"
#include "services/server/control_channel.h"
#include "services/server/control_codec.h"
#include "services/server/log.h"
#include "services/server/watch_thread.h"

namespace conclave {

class PlacementWatcher::Impl {
 public:
  Impl(Options options, std::function<void(ClusterView)> on_view)
      : options_(std::move(options)),
        on_view_(std::move(on_view)),
        stub_(v1::Control::NewStub(make_control_channel(options_.control))) {
    request_.set_server_id(options_.server_id);
    thread_ = std::make_unique<Thread>(
        Thread::Options{.what = "placements",
                        .from = options_.control,
                        .first_pause = options_.first_pause,
                        .longest_pause = options_.longest_pause},
        [this](grpc::ClientContext* context) { return stub_->WatchPlacement(context, request_); },
        [this](const v1::PlacementUpdate& update) { take(update); });
  }

 private:
  using Thread = WatchThread<v1::PlacementUpdate>;

  void take(const v1::PlacementUpdate& update) {
    absl::StatusOr<ClusterView> view = from_proto(update, *options_.config);
    if (!view.ok()) {
      log_error("placement dropped", {{"version", update.version()}, {"status", view.status()}});
      return;
    }
    if (view->version == last_version_) return;
    last_version_ = view->version;
    log_debug("placement", {{"version", view->version}, {"servers", view->servers.size()}});
    on_view_(*std::move(view));
  }

  const Options options_;
  const std::function<void(ClusterView)> on_view_;
  const std::unique_ptr<v1::Control::Stub> stub_;
  v1::WatchPlacementRequest request_;
  int64_t last_version_ = -1;       // the thread's
  std::unique_ptr<Thread> thread_;  // last: it uses all of the above
};

PlacementWatcher::PlacementWatcher(Options options, std::function<void(ClusterView)> on_view)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(on_view))) {}

PlacementWatcher::~PlacementWatcher() = default;

}  // namespace conclave
