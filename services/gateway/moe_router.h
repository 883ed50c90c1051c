// The router in the gateway (--routing gateway): attention nodes send a layer's rows, this gates,
// dispatches to expert servers and combines, with the code and the bits of an attention node that
// routes by itself.
//
// One thread owns the gates, the placement and the transport. It starts everything that has arrived
// before it waits for the first answer, so that the layers of several nodes are under way together.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/thread_pool.h"
#include "router/cluster_view.h"
#include "router/expert_layer.h"
#include "router/wire/moe_service.h"
#include "services/local/model_folder.h"
#include "services/server/leg_transport.h"

namespace conclave {

class MoeRouter final : public MoeHandler {
 public:
  struct Options {
    DType wire_out = DType::kBF16;
    DType wire_back = DType::kBF16;
    ThreadPool::Options pool;    // of the gates
    int32_t max_tokens = 4096;   // rows of one frame; more are refused
    int32_t max_waiting = 1024;  // frames; more are refused
    absl::Duration leg_timeout = absl::Seconds(10);
    TransportFlags transport;
    // On the router's thread: from now on no layer is asked for by an older view.
    std::function<void(int64_t version)> on_view = [](int64_t) {};
  };

  // Loads the gates and starts the thread. All outlive the router; `legs` hears of every leg on the
  // router's thread.
  static absl::StatusOr<std::unique_ptr<MoeRouter>> create(const ModelFolder& folder,
                                                           const Clock* clock, LegObserver* legs,
                                                           const Options& options);
  ~MoeRouter() override;

  // From the next layer on. Thread-safe, as submit().
  void set_view(ClusterView view);

  void submit(MoeFrame frame, Done done) override;

  // Answers what is waiting with UNAVAILABLE and joins the thread. Idempotent.
  void stop();

 private:
  struct Job {
    MoeFrame frame;
    Done done;
  };

  MoeRouter(const ModelFolder& folder, const Options& options)
      : options_(options), config_(folder.config) {}

  absl::Status check(const MoeFrame& frame) const;
  void work();
  void use_view(const ClusterView& view);
  void answer(std::vector<Job> jobs);

  const Options options_;
  const ModelConfig& config_;
  std::unique_ptr<ThreadPool> threads_;
  GateStack gates_;
  NewestMembers members_;
  std::unique_ptr<LegTransport> transport_;
  std::unique_ptr<ExpertLayer> experts_;
  std::vector<std::unique_ptr<MoeStep>> steps_;  // as many as were ever under way together

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Job> jobs_;
  std::optional<ClusterView> view_;
  bool stopping_ = false;

  std::thread thread_;  // last: it uses everything above
};

}  // namespace conclave
