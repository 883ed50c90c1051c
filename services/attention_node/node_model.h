// The model half of an attention node: weights, the routed half of its layers (here or at the
// gateway), the engine. Everything in it is the step thread's once the node serves.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "attention/attention_stack.h"
#include "common/clock.h"
#include "common/thread_pool.h"
#include "model/numeric_profile.h"
#include "router/cluster_view.h"
#include "router/expert_layer.h"
#include "router/wire/remote_moe_layer.h"
#include "services/attention_node/node_flags.h"
#include "services/attention_node/watched_moe_layer.h"
#include "services/local/model_folder.h"
#include "services/server/leg_transport.h"
#include "services/server/progress_watch.h"

namespace conclave {

class NodeModel {
 public:
  using Progress = std::function<void(std::string_view part, uint64_t done, uint64_t total)>;

  // All outlive the model. `watch` hears of every layer of a step.
  struct Parts {
    const Clock* clock = nullptr;
    LegObserver* legs = nullptr;
    ProgressWatch* watch = nullptr;
  };

  // `folder` outlives the model. RESOURCE_EXHAUSTED when it does not fit.
  static absl::StatusOr<std::unique_ptr<NodeModel>> load(const ModelFolder& folder,
                                                         const NodeFlags& flags, const Parts& parts,
                                                         const Progress& progress);

  Engine& engine() { return stack_->engine(); }

  // At once: nobody is waited for who has left. Thread-safe.
  void hear_of(const ClusterView& view) { members_.update(view); }

  // From the next step on.
  void use_view(const ClusterView& view);

 private:
  NodeModel(const ModelFolder& folder, std::unique_ptr<ThreadPool> threads)
      : folder_(folder), threads_(std::move(threads)) {}

  absl::Status make_moe(const NodeFlags& flags, const Parts& parts);

  const ModelFolder& folder_;
  const std::unique_ptr<ThreadPool> threads_;
  TrunkWeights trunk_;
  NewestMembers members_;
  std::unique_ptr<LegTransport> transport_;  // null where the gateway routes
  std::unique_ptr<ExpertLayer> experts_;     // null where the gateway routes
  std::unique_ptr<RemoteMoeLayer> remote_;   // null where rows are routed here
  std::unique_ptr<WatchedMoeLayer> moe_;     // whichever there is
  std::unique_ptr<AttentionStack> stack_;
};

// Fields that an attention node adds to profile_of_weights().
NumericProfile profile_of_node(const ModelFolder& folder, const NodeFlags& flags);

}  // namespace conclave
