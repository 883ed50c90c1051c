#include "services/local/local_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/checked_math.h"
#include "common/host_memory.h"
#include "common/status_macros.h"
#include "kernels/instruction_class.h"
#include "router/expert_layer.h"

namespace conclave {
namespace {

constexpr int32_t kPageTokens = 64;

// A step has room for a whole chunk and for one token of everybody who runs.
int32_t step_tokens(const LocalModel::Options& options) {
  return std::max(options.prefill_chunk, options.max_running);
}

LatentCache::Options cache_options(const ModelConfig& config, const LocalModel::Options& options) {
  return {.num_layers = config.num_layers,
          .row_cols = config.mla.cache_cols(),
          .page_tokens = kPageTokens,
          .num_pages = std::max(1, ceil_div(options.cache_tokens, kPageTokens)),
          .dtype = options.cache};
}

// Said before loading, or refused with the same words.
absl::Status check_memory(const ModelFolder& folder, const LocalModel::Options& options,
                          const LocalModel::Listener& listener) {
  const uint64_t needed = bytes_needed(folder, options);
  const uint64_t available = host_memory().available_bytes;
  const bool fits = needed <= available;
  const std::string facts =
      absl::StrFormat("%s needs %s for weights, cache and activations, %s of memory is available",
                      folder.dir, format_bytes(needed), format_bytes(available));
  if (!fits && !options.overcommit) {
    return absl::ResourceExhaustedError(facts +
                                        ": it does not fit; --overcommit loads it all the same");
  }
  listener.say(facts + (fits ? ": it fits" : ": it does not fit"));
  return absl::OkStatus();
}

// Scores of every gate, rows out and back with their f32 copies, and the scratch of every shard.
uint64_t routing_bytes(const ModelConfig& config, const LocalModel::Options& options) {
  const GateConfig& gate = config.moe.gate;
  if (gate.num_experts == 0) return 0;
  uint64_t num_moe_layers = 0;
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    num_moe_layers += config.is_moe_layer(layer) ? 1 : 0;
  }
  const uint64_t tokens = static_cast<uint64_t>(step_tokens(options));
  const uint64_t scores = num_moe_layers * static_cast<uint64_t>(gate.num_experts);
  const uint64_t rows =
      3 * static_cast<uint64_t>(gate.experts_per_token) * static_cast<uint64_t>(config.hidden_dim);
  return tokens * (scores + rows) * sizeof(float) +
         static_cast<uint64_t>(options.expert_shards) * ExpertEngine::scratch_bytes(config);
}

}  // namespace

int64_t rounded_cache_tokens(const LocalModel::Options& options) {
  return int64_t{std::max(1, ceil_div(options.cache_tokens, kPageTokens))} * kPageTokens;
}

uint64_t bytes_needed(const ModelFolder& folder, const LocalModel::Options& options) {
  const LatentCache::Options cache = cache_options(folder.config, options);
  const uint64_t cache_tokens =
      static_cast<uint64_t>(cache.num_pages) * static_cast<uint64_t>(cache.page_tokens);
  const int32_t max_tokens = step_tokens(options);
  return folder.size.trunk_bytes + folder.size.all_expert_bytes +
         cache_tokens * LatentCache::bytes_per_token(cache) +
         absorbed_mla_scratch_bytes(folder.config.mla, max_tokens) +
         LayerWalk::scratch_bytes({.config = &folder.config, .max_tokens = max_tokens}) +
         routing_bytes(folder.config, options);
}

LocalModel::LocalModel(const ModelFolder& folder, const Options& options,
                       std::unique_ptr<ThreadPool> threads)
    : options_(options), config_(folder.config), threads_(std::move(threads)) {}

absl::StatusOr<std::unique_ptr<LocalModel>> LocalModel::load(const ModelFolder& folder,
                                                             const Options& options,
                                                             const Listener& listener) {
  RETURN_IF_ERROR(check_instruction_class());
  ASSIGN_OR_RETURN(std::unique_ptr<ThreadPool> threads, ThreadPool::start(options.threads));
  RETURN_IF_ERROR(check_memory(folder, options, listener));
  std::unique_ptr<LocalModel> model(new LocalModel(folder, options, std::move(threads)));
  ASSIGN_OR_RETURN(model->trunk_, load_trunk(*folder.checkpoint, folder.config,
                                             [&](uint64_t done, uint64_t total) {
                                               listener.progress("trunk", done, total);
                                             }));
  RETURN_IF_ERROR(model->load_experts(folder, listener));
  RETURN_IF_ERROR(model->build(folder));
  return model;
}

absl::Status LocalModel::load_experts(const ModelFolder& folder, const Listener& listener) {
  if (config_.moe.gate.num_experts == 0) return absl::OkStatus();
  for (int32_t i = 0; i < options_.expert_shards; ++i) {
    const std::string name = absl::StrFormat("experts %d/%d", i + 1, options_.expert_shards);
    const auto progress = [&](uint64_t done, uint64_t total) {
      listener.progress(name, done, total);
    };
    const ExpertRange range{.shard_idx = i, .num_shards = options_.expert_shards};
    ASSIGN_OR_RETURN(const ExpertSet held, ExpertSet::shard(config_, range));
    ASSIGN_OR_RETURN(std::unique_ptr<LocalExpertServer> shard,
                     LocalExpertServer::load(*folder.checkpoint, config_, held, threads_.get(),
                                             progress));
    transport_.add_server(ServerId{i}, shard.get());
    shards_.push_back(std::move(shard));
  }
  return absl::OkStatus();
}

absl::Status LocalModel::build(const ModelFolder& folder) {
  ASSIGN_OR_RETURN(cache_, LatentCache::create(cache_options(config_, options_)));
  attention_ = make_absorbed_mla({.config = &config_,
                                  .trunk = &trunk_,
                                  .cache = cache_.get(),
                                  .executor = threads_.get(),
                                  .max_tokens = step_tokens(options_)});
  ASSIGN_OR_RETURN(
      moe_, ExpertLayer::create({.config = &config_,
                                 .gates = gate_weights(trunk_),
                                 .transport = &transport_,
                                 .executor = threads_.get(),
                                 .clock = &clock_},
                                Placement::even(config_, options_.expert_shards),
                                {.wire_out = options_.wire,
                                 .wire_back = options_.wire,
                                 .max_tokens = step_tokens(options_)}));
  walk_ = std::make_unique<LayerWalk>(LayerWalk::Parts{.config = &config_,
                                                       .trunk = &trunk_,
                                                       .attention = attention_.get(),
                                                       .moe = moe_.get(),
                                                       .executor = threads_.get(),
                                                       .max_tokens = step_tokens(options_)});
  engine_ = std::make_unique<Engine>(
      &config_, cache_.get(), walk_.get(),
      Engine::Options{.scheduler = {.step_tokens = step_tokens(options_),
                                    .prefill_chunk = options_.prefill_chunk,
                                    .max_running = options_.max_running},
                      .num_ids = folder.num_drawable_ids()});
  return absl::OkStatus();
}

}  // namespace conclave
