#include "services/local/local_expert_server.h"

#include <utility>

#include "common/status_macros.h"

namespace conclave {

absl::StatusOr<std::unique_ptr<LocalExpertServer>> LocalExpertServer::load(
    const Checkpoint& checkpoint, const ModelConfig& config, const ExpertSet& held,
    Executor* executor, LoadProgress progress, const WeightTypes& types) {
  ASSIGN_OR_RETURN(ExpertWeights weights, load_experts(checkpoint, config, held, progress,
                                                       {.types = types, .executor = executor}));
  return std::unique_ptr<LocalExpertServer>(new LocalExpertServer(config, weights, executor));
}

LocalExpertServer::LocalExpertServer(const ModelConfig& config, const ExpertWeights& weights,
                                     Executor* executor)
    : weights_(weights),
      engine_(config, &weights_, executor),
      batcher_(&config, &weights_, &engine_, {}) {}

// The job's rows are a view, so its end keeps what they are a view of.
void LocalExpertServer::submit(const LegRequest& request, LegReply* reply) {
  batcher_.submit({.layer_idx = request.layer_idx,
                   .pick_begin = request.pick_begin,
                   .pick_expert = request.pick_expert,
                   .row_type = request.row_type,
                   .num_cols = request.num_cols,
                   .rows = request.rows,
                   .reply_type = request.reply_type,
                   .done = [reply, kept = request.rows](absl::StatusOr<SharedBytes> said) {
                     reply->status = said.status();
                     if (said.ok()) reply->rows = *std::move(said);
                     reply->done = true;
                   }});
}

bool LocalExpertServer::run() {
  bool answered = false;
  while (batcher_.run_once()) answered = true;
  return answered;
}

}  // namespace conclave
