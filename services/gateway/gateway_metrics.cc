#include "services/gateway/gateway_metrics.h"

#include "absl/strings/str_cat.h"

namespace conclave {
namespace {

constexpr char kRequestsHelp[] = "Requests that ended, by outcome";
constexpr char kTokensHelp[] = "Tokens of accepted requests";
constexpr char kMembersHelp[] = "Servers that are registered";

// From 1 ms on: what a reader can feel, and what a large model takes.
std::vector<double> latency_buckets() { return exponential_buckets(1e-3, 2, 17); }

// A counter that shows what somebody else counts.
void raise_to(int64_t value, prometheus::Counter* counter) {
  const double more = static_cast<double>(value) - counter->Value();
  if (more > 0) counter->Increment(more);
}

}  // namespace

prometheus::Counter& GatewayMetrics::outcome(Metrics* metrics, const char* name) {
  return metrics->counter("conclave_requests_total", kRequestsHelp, {{"outcome", name}});
}

GatewayMetrics::GatewayMetrics(Metrics* metrics, int32_t num_layers)
    : ttft_(metrics->histogram("conclave_time_to_first_token_seconds",
                               "From taking a request in to its first token", latency_buckets())),
      itl_(metrics->histogram("conclave_inter_token_seconds", "Between two tokens of one request",
                              latency_buckets())),
      invalid_(outcome(metrics, "invalid")),
      refused_(outcome(metrics, "refused")),
      stop_id_(outcome(metrics, "stop_id")),
      stop_string_(outcome(metrics, "stop_string")),
      length_(outcome(metrics, "length")),
      cancelled_(outcome(metrics, "cancelled")),
      client_gone_(outcome(metrics, "client_gone")),
      deadline_(outcome(metrics, "deadline")),
      failed_(outcome(metrics, "failed")),
      prompt_tokens_(metrics->counter("conclave_tokens_total", kTokensHelp, {{"kind", "prompt"}})),
      tokens_(metrics->counter("conclave_tokens_total", kTokensHelp, {{"kind", "generated"}})),
      replays_(metrics->counter("conclave_replays_total",
                                "Runs that were lost with their node and made up for by another")),
      replayed_tokens_(
          metrics->counter("conclave_replayed_tokens_total",
                           "Ids that lost runs had so far, for another node to compute again")),
      turned_away_(metrics->counter("conclave_turned_away_total",
                                    "Runs that a full attention node refused")),
      queued_(metrics->gauge("conclave_queued_requests", "Requests that no node has yet")),
      assigned_(metrics->gauge("conclave_assigned_requests", "Requests at attention nodes")),
      nodes_(metrics->gauge("conclave_members", kMembersHelp, {{"role", "attention_node"}})),
      expert_servers_(
          metrics->gauge("conclave_members", kMembersHelp, {{"role", "expert_server"}})),
      covered_(metrics->gauge("conclave_covered_experts",
                              "Pairs of layer and expert that some server holds")),
      experts_(metrics->gauge("conclave_experts", "Pairs of layer and expert of the model")),
      ready_(metrics->gauge("conclave_ready", "1 once every expert of every layer has been seen")),
      exact_(metrics->gauge("conclave_exact",
                            "1 while all servers have one numeric profile (same bits)")),
      placement_version_(
          metrics->gauge("conclave_placement_version", "Version of the newest placement")),
      plans_(metrics->counter("conclave_placement_plans_total",
                              "Plans of which server is to hold which experts")),
      pending_experts_(metrics->gauge("conclave_placement_pending_experts",
                                      "Pairs of expert and server that are to be loaded or "
                                      "released by the newest plan")),
      stuck_seconds_(metrics->gauge("conclave_placement_stuck_seconds",
                                    "Time since one of them was, 0 where there are none")),
      short_experts_(metrics->gauge("conclave_placement_short_experts",
                                    "Pairs of layer and expert with fewer servers than "
                                    "--min-replicas, for want of room")) {
  for (int32_t layer = 0; layer < num_layers; ++layer) {
    imbalance_.push_back(
        &metrics->gauge("conclave_layer_imbalance_ratio",
                        "Picks of the busiest expert server over their mean, lately; 0: no picks",
                        {{"layer", absl::StrCat(layer)}}));
  }
}

void GatewayMetrics::on_first_token(absl::Duration wait) {
  ttft_.Observe(absl::ToDoubleSeconds(wait));
}

void GatewayMetrics::on_next_tokens(absl::Duration gap, int32_t num_tokens) {
  for (int32_t i = 0; i < num_tokens; ++i) {
    itl_.Observe(absl::ToDoubleSeconds(gap) / num_tokens);
  }
}

void GatewayMetrics::update(ClusterState* state) {
  nodes_.Set(static_cast<double>(state->nodes().size()));
  ready_.Set(state->summary().ready ? 1 : 0);
  if (state->table() != nullptr) update_table(*state->table());
  if (state->membership() != nullptr) update_members(*state->membership());
  if (state->placement() != nullptr) update_placement(*state->placement());
}

void GatewayMetrics::update_table(const RequestTable& table) {
  const TableCounters& counters = table.counters();
  raise_to(counters.num_refused, &refused_);
  raise_to(counters.num_stop_id, &stop_id_);
  raise_to(counters.num_stop_string, &stop_string_);
  raise_to(counters.num_length, &length_);
  raise_to(counters.num_cancelled, &cancelled_);
  raise_to(counters.num_client_gone, &client_gone_);
  raise_to(counters.num_deadline, &deadline_);
  raise_to(counters.num_failed, &failed_);
  raise_to(counters.num_prompt_tokens, &prompt_tokens_);
  raise_to(counters.num_tokens, &tokens_);
  raise_to(counters.num_replays, &replays_);
  raise_to(counters.num_replayed_tokens, &replayed_tokens_);
  raise_to(counters.num_turned_away, &turned_away_);
  queued_.Set(table.num_queued());
  assigned_.Set(table.num_assigned());
}

void GatewayMetrics::update_members(const Membership& membership) {
  expert_servers_.Set(static_cast<double>(membership.placement().servers.size()));
  covered_.Set(static_cast<double>(membership.coverage().num_covered));
  experts_.Set(static_cast<double>(membership.coverage().num_total));
  exact_.Set(membership.exact() ? 1 : 0);
  placement_version_.Set(static_cast<double>(membership.placement().version));
  const std::vector<double> imbalance = membership.layer_imbalance();
  for (size_t i = 0; i < imbalance.size(); ++i) imbalance_[i]->Set(imbalance[i]);
}

void GatewayMetrics::update_placement(const PlacementControl& placement) {
  const PlacementControl::Stats stats = placement.stats();
  raise_to(stats.num_plans, &plans_);
  pending_experts_.Set(static_cast<double>(stats.num_pending));
  stuck_seconds_.Set(absl::ToDoubleSeconds(stats.stuck));
  short_experts_.Set(static_cast<double>(stats.num_short));
}

}  // namespace conclave
