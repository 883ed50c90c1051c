// An expert server that lives in this process: one shard's weights, its engine and batcher, behind
// the loopback. It only translates: a leg becomes a job, the job's answer becomes the leg's reply.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/executor.h"
#include "experts/expert_batcher.h"
#include "experts/expert_engine.h"
#include "model/checkpoint/checkpoint.h"
#include "model/config/model_config.h"
#include "model/weights/weights.h"
#include "router/transport_loopback.h"

namespace conclave {

class LocalExpertServer final : public LoopbackServer {
 public:
  // Loads the experts of `held`, in the format of `types`. `checkpoint`, `config` and `executor`
  // outlive the server.
  static absl::StatusOr<std::unique_ptr<LocalExpertServer>> load(
      const Checkpoint& checkpoint, const ModelConfig& config, const ExpertSet& held,
      Executor* executor, LoadProgress progress, const WeightTypes& types = {});

  void submit(const LegRequest& request, LegReply* reply) override;
  bool run() override;

 private:
  LocalExpertServer(const ModelConfig& config, const ExpertWeights& weights, Executor* executor);

  const HeldExperts weights_;
  ExpertEngine engine_;
  ExpertBatcher batcher_;
};

}  // namespace conclave
