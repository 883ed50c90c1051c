#include "attention/attention_stack.h"

#include "common/checked_math.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

constexpr int32_t kPageTokens = 64;

LatentCache::Options cache_options(const ModelConfig& config,
                                   const AttentionStack::Options& options) {
  return {.num_layers = config.num_layers,
          .row_cols = config.mla.cache_cols(),
          .page_tokens = kPageTokens,
          .num_pages = std::max(1, ceil_div(options.cache_tokens, kPageTokens)),
          .dtype = options.cache};
}

}  // namespace

int64_t AttentionStack::Options::rounded_cache_tokens() const {
  return int64_t{std::max(1, ceil_div(cache_tokens, kPageTokens))} * kPageTokens;
}

uint64_t AttentionStack::num_bytes(const ModelConfig& config, const Options& options) {
  const LatentCache::Options cache = cache_options(config, options);
  const int32_t max_tokens = options.step_tokens();
  return static_cast<uint64_t>(options.rounded_cache_tokens()) *
             LatentCache::bytes_per_token(cache) +
         absorbed_mla_scratch_bytes(config.mla, max_tokens) +
         LayerWalk::scratch_bytes({.config = &config, .max_tokens = max_tokens});
}

absl::StatusOr<std::unique_ptr<AttentionStack>> AttentionStack::create(const Parts& parts,
                                                                       const Options& options) {
  std::unique_ptr<AttentionStack> stack(new AttentionStack());
  ASSIGN_OR_RETURN(stack->cache_, LatentCache::create(cache_options(*parts.config, options)));
  stack->attention_ = make_absorbed_mla({.config = parts.config,
                                         .trunk = parts.trunk,
                                         .cache = stack->cache_.get(),
                                         .executor = parts.executor,
                                         .max_tokens = options.step_tokens()});
  stack->walk_ = std::make_unique<LayerWalk>(LayerWalk::Parts{.config = parts.config,
                                                              .trunk = parts.trunk,
                                                              .attention = stack->attention_.get(),
                                                              .moe = parts.moe,
                                                              .executor = parts.executor,
                                                              .clock = parts.clock,
                                                              .overlap = options.overlap,
                                                              .max_tokens = options.step_tokens()});
  stack->engine_ =
      std::make_unique<Engine>(parts.config, stack->cache_.get(), stack->walk_.get(),
                               Engine::Options{.scheduler = {.step_tokens = options.step_tokens(),
                                                             .prefill_chunk = options.prefill_chunk,
                                                             .max_running = options.max_running},
                                               .max_requests = options.max_requests,
                                               .num_ids = options.num_ids});
  return stack;
}

}  // namespace conclave
