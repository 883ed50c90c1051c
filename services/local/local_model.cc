#include "services/local/local_model.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/checked_math.h"
#include "common/host_memory.h"
#include "common/status_macros.h"
#include "kernels/instruction_class.h"
#include "router/expert_layer.h"

namespace conclave {
namespace {

AttentionStack::Options stack_options(const ModelFolder& folder,
                                      const LocalModel::Options& options) {
  return {.cache = options.cache,
          .cache_tokens = options.cache_tokens,
          .prefill_chunk = options.prefill_chunk,
          .max_running = options.max_running,
          .num_ids = folder.num_drawable_ids(),
          .overlap = options.overlap};
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

}  // namespace

int64_t rounded_cache_tokens(const LocalModel::Options& options) {
  return AttentionStack::Options{.cache_tokens = options.cache_tokens}.rounded_cache_tokens();
}

uint64_t bytes_needed(const ModelFolder& folder, const LocalModel::Options& options) {
  const AttentionStack::Options stack = stack_options(folder, options);
  return folder.size.trunk_bytes + folder.size.all_expert_bytes +
         AttentionStack::num_bytes(folder.config, stack) +
         ExpertLayer::num_bytes(folder.config, stack.step_tokens()) +
         static_cast<uint64_t>(options.expert_shards) * ExpertEngine::scratch_bytes(folder.config);
}

LocalModel::LocalModel(const ModelFolder& folder, const Options& options,
                       std::unique_ptr<ThreadPool> threads)
    : options_(options), config_(folder.config), threads_(std::move(threads)) {}

absl::StatusOr<std::unique_ptr<LocalModel>> LocalModel::load(const ModelFolder& folder,
                                                             const Options& options,
                                                             const Listener& listener) {
  RETURN_IF_ERROR(check_instruction_class());
  ASSIGN_OR_RETURN(std::unique_ptr<ThreadPool> threads,
                   ThreadPool::start({.num_threads = options.threads, .pin = options.pin_threads}));
  RETURN_IF_ERROR(check_memory(folder, options, listener));
  std::unique_ptr<LocalModel> model(new LocalModel(folder, options, std::move(threads)));
  const auto progress = [&](uint64_t done, uint64_t total) {
    listener.progress("trunk", done, total);
  };
  const LoadOptions load{.types = folder.weights(), .executor = model->threads_.get()};
  ASSIGN_OR_RETURN(model->trunk_, load_trunk(*folder.checkpoint, folder.config, progress, load));
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
                                             progress, folder.weights()));
    transport_.add_server(ServerId{i}, shard.get());
    shards_.push_back(std::move(shard));
  }
  return absl::OkStatus();
}

DType reply_type_for(DType wire) { return wire == DType::kF8E4M3 ? DType::kBF16 : wire; }

absl::Status LocalModel::build(const ModelFolder& folder) {
  const AttentionStack::Options stack = stack_options(folder, options_);
  ASSIGN_OR_RETURN(moe_, ExpertLayer::create({.config = &config_,
                                              .gates = gate_weights(trunk_),
                                              .transport = &transport_,
                                              .executor = threads_.get(),
                                              .clock = &clock_},
                                             Placement::even(config_, options_.expert_shards),
                                             {.wire_out = options_.wire,
                                              .wire_back = reply_type_for(options_.wire),
                                              .max_tokens = stack.step_tokens()}));
  ASSIGN_OR_RETURN(stack_, AttentionStack::create({.config = &config_,
                                                   .trunk = &trunk_,
                                                   .moe = moe_.get(),
                                                   .executor = threads_.get(),
                                                   .clock = &clock_},
                                                  stack));
  return absl::OkStatus();
}

}  // namespace conclave
