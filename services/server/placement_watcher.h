// Follows control's placements (Control.WatchPlacement) on a thread of its own and hands each view
// to a callback. The stream is started again when it breaks, with pauses from 100 ms to 2 s; while
// control is away nothing is called, so that whoever listens goes on with the last view. A view
// that cannot be true of the model is logged and dropped.
//
// Versions rise within one control role, and control starts from its clock, so a later view has the
// higher version also after control was restarted; the same version again is not handed out twice.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "model/config/model_config.h"
#include "router/cluster_view.h"

namespace conclave {

class PlacementWatcher {
 public:
  struct Options {
    std::string control;                  // HOST:PORT
    std::string server_id;                // who watches; for control's logs
    const ModelConfig* config = nullptr;  // outlives this
    absl::Duration first_pause = absl::Milliseconds(100);
    absl::Duration longest_pause = absl::Seconds(2);
  };

  // Starts the thread, which calls `on_view` in the order of arrival.
  PlacementWatcher(Options options, std::function<void(ClusterView)> on_view);

  // Ends the stream and joins the thread: no call comes after.
  ~PlacementWatcher();

  PlacementWatcher(const PlacementWatcher&) = delete;
  PlacementWatcher& operator=(const PlacementWatcher&) = delete;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace conclave
