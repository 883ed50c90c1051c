#include "services/attention_node/node_flags.h"

namespace conclave {

void NodeFlags::add_to(CLI::App* app) {
  server.add_to(app, ServerFlags::Kind::kNode);
  const CLI::IsMember row_types({"f32", "bf16"});
  app->add_option("--routing", routing, "Where rows are routed to experts: local or gateway")
      ->check(CLI::IsMember({"local", "gateway"}))
      ->capture_default_str();
  app->add_option("--wire-out", wire_out, "Type of rows to the experts (--routing local)")
      ->check(CLI::IsMember({"f32", "bf16", "fp8"}))
      ->capture_default_str();
  app->add_option("--wire-back", wire_back, "Type of rows from the experts (--routing local)")
      ->check(row_types)
      ->capture_default_str();
  transport.add_to_sender(app);
  app->add_option("--cache-dtype", cache_dtype, "Type of the latent cache")
      ->check(row_types)
      ->capture_default_str();
  app->add_option("--cache-tokens", cache_tokens, "Tokens that the cache holds")
      ->check(CLI::Range(1, INT32_MAX - 64))
      ->capture_default_str();
  app->add_option("--prefill-chunk", prefill_chunk, "Most prompt tokens of one step")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app->add_option("--max-running", max_running, "Requests that run at a time")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app->add_option("--max-requests", max_requests, "Requests that run or wait; more are refused")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app->add_option("--overlap", overlap,
                  "Steps in two halves, one computing while the other's rows are away: on, off, or "
                  "auto, where that is measured to be faster")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  app->add_option("--leg-timeout", leg_timeout_seconds,
                  "Seconds after which an expert server that is silent counts as lost")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  app->add_flag("--overcommit", overcommit, "Load a model that exceeds the available memory");
}

AttentionStack::Options NodeFlags::stack_options(const ModelFolder& folder) const {
  return {.cache = *parse_dtype(cache_dtype),
          .cache_tokens = cache_tokens,
          .prefill_chunk = prefill_chunk,
          .max_running = max_running,
          .max_requests = max_requests,
          .num_ids = folder.num_drawable_ids(),
          .overlap = *parse_overlap(overlap)};
}

}  // namespace conclave
