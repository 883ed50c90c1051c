#include "services/server/control_codec.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

// Ranges of one layer, each checked before anything is counted over it.
absl::Status insert_layer(const v1::LayerExperts& layer, ExpertSet* set) {
  if (layer.first_size() != layer.count_size()) {
    return absl::InvalidArgumentError(absl::StrFormat("layer %d has %d first and %d count",
                                                      layer.layer_idx(), layer.first_size(),
                                                      layer.count_size()));
  }
  int32_t lowest = 0;  // that the next range may begin with
  for (int i = 0; i < layer.first_size(); ++i) {
    const int32_t first = layer.first(i);
    const int32_t count = layer.count(i);
    if (first < lowest || count < 1 || first >= set->num_experts() ||
        count > set->num_experts() - first) {
      return absl::InvalidArgumentError(
          absl::StrFormat("layer %d: range %d is %d experts from %d on; ranges ascend without "
                          "touching within the %d experts",
                          layer.layer_idx(), i, count, first, set->num_experts()));
    }
    for (int32_t expert = first; expert < first + count; ++expert) {
      set->insert(layer.layer_idx(), expert);
    }
    lowest = first + count + 1;
  }
  return absl::OkStatus();
}

absl::StatusOr<ServerRole> from_proto(v1::Role role) {
  if (role == v1::ROLE_ATTENTION_NODE) return ServerRole::kAttentionNode;
  if (role == v1::ROLE_EXPERT_SERVER) return ServerRole::kExpertServer;
  return absl::InvalidArgumentError(
      absl::StrFormat("role is %d, which this control does not know", static_cast<int>(role)));
}

v1::Role to_proto(ServerRole role) {
  return role == ServerRole::kAttentionNode ? v1::ROLE_ATTENTION_NODE : v1::ROLE_EXPERT_SERVER;
}

absl::StatusOr<PlacedServer> from_proto(const v1::PlacedServer& message,
                                        const ModelConfig& config) {
  if (message.address().empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("server %d has no address", message.server_no()));
  }
  PlacedServer server{.server = ServerId{message.server_no()},
                      .id = message.server_id(),
                      .address = message.address(),
                      .shm_endpoint = message.shm_endpoint(),
                      .draining = message.draining()};
  ASSIGN_OR_RETURN(server.held, from_proto(message.held(), config));
  return server;
}

}  // namespace

absl::StatusOr<ExpertSet> from_proto(const v1::ExpertSet& message, const ModelConfig& config) {
  ExpertSet set(config.num_layers, config.moe.gate.num_experts);
  int32_t lowest = 0;
  for (const v1::LayerExperts& layer : message.layers()) {
    const int32_t layer_idx = layer.layer_idx();
    if (layer_idx < lowest || layer_idx >= config.num_layers) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "layer %d: layers ascend within the %d of the model", layer_idx, config.num_layers));
    }
    if (!config.is_moe_layer(layer_idx)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("layer %d has no routed experts", layer_idx));
    }
    RETURN_IF_ERROR(insert_layer(layer, &set));
    lowest = layer_idx + 1;
  }
  return set;
}

void to_proto(const ExpertSet& set, v1::ExpertSet* message) {
  for (int32_t layer_idx = 0; layer_idx < set.num_layers(); ++layer_idx) {
    const std::vector<ExpertSpan> spans = set.spans(layer_idx);
    if (spans.empty()) continue;
    v1::LayerExperts* const layer = message->add_layers();
    layer->set_layer_idx(layer_idx);
    for (const ExpertSpan& span : spans) {
      layer->add_first(span.first);
      layer->add_count(span.count);
    }
  }
}

NumericProfile from_proto(const v1::NumericProfile& message) {
  return {.weights = message.weights(),
          .weight_type = message.weight_type(),
          .kernel_version = message.kernel_version(),
          .instructions = message.instructions(),
          .trunk_type = message.trunk_type(),
          .wire_out = message.wire_out(),
          .wire_back = message.wire_back(),
          .cache_type = message.cache_type(),
          .attention_form = message.attention_form()};
}

void to_proto(const NumericProfile& profile, v1::NumericProfile* message) {
  message->set_weights(profile.weights);
  message->set_weight_type(profile.weight_type);
  message->set_kernel_version(profile.kernel_version);
  message->set_instructions(profile.instructions);
  message->set_trunk_type(profile.trunk_type);
  message->set_wire_out(profile.wire_out);
  message->set_wire_back(profile.wire_back);
  message->set_cache_type(profile.cache_type);
  message->set_attention_form(profile.attention_form);
}

absl::StatusOr<ServerFacts> from_proto(const v1::Hello& message, const ModelConfig& config) {
  ServerFacts facts{.id = message.server_id(),
                    .incarnation = message.incarnation(),
                    .address = message.address(),
                    .metrics_address = message.metrics_address(),
                    .profile = from_proto(message.profile()),
                    .version = message.version(),
                    .capacity_bytes = message.capacity_bytes(),
                    .held_bytes = message.held_bytes(),
                    .cache_tokens = message.cache_tokens(),
                    .max_requests = message.max_requests()};
  ASSIGN_OR_RETURN(facts.role, from_proto(message.role()));
  ASSIGN_OR_RETURN(facts.held, from_proto(message.held(), config));
  facts.shm_endpoint = message.shm_endpoint();
  facts.managed = message.managed();
  facts.expert_bytes = message.expert_bytes();
  return facts;
}

void to_proto(const ServerFacts& facts, v1::Hello* message) {
  message->set_role(to_proto(facts.role));
  message->set_server_id(facts.id);
  message->set_incarnation(facts.incarnation);
  message->set_address(facts.address);
  message->set_metrics_address(facts.metrics_address);
  to_proto(facts.profile, message->mutable_profile());
  message->set_version(facts.version);
  message->set_capacity_bytes(facts.capacity_bytes);
  message->set_held_bytes(facts.held_bytes);
  to_proto(facts.held, message->mutable_held());
  message->set_cache_tokens(facts.cache_tokens);
  message->set_max_requests(facts.max_requests);
  message->set_shm_endpoint(facts.shm_endpoint);
  message->set_managed(facts.managed);
  message->set_expert_bytes(facts.expert_bytes);
}

NodeLoad from_proto(const v1::NodeLoad& message) {
  return {.num_running = message.num_running(),
          .num_waiting = message.num_waiting(),
          .num_stalled = message.num_stalled(),
          .num_pages = message.num_pages(),
          .num_free_pages = message.num_free_pages(),
          .num_tokens = message.num_tokens()};
}

void to_proto(const NodeLoad& load, v1::NodeLoad* message) {
  message->set_num_running(load.num_running);
  message->set_num_waiting(load.num_waiting);
  message->set_num_stalled(load.num_stalled);
  message->set_num_pages(load.num_pages);
  message->set_num_free_pages(load.num_free_pages);
  message->set_num_tokens(load.num_tokens);
}

ExpertLoad from_proto(const v1::ExpertLoad& message) {
  return {.num_queued_legs = message.num_queued_legs(),
          .picks = {message.picks().begin(), message.picks().end()}};
}

void to_proto(const ExpertLoad& load, v1::ExpertLoad* message) {
  message->set_num_queued_legs(load.num_queued_legs);
  message->mutable_picks()->Assign(load.picks.begin(), load.picks.end());
}

absl::StatusOr<Holding> from_proto(const v1::Holding& message, const ModelConfig& config) {
  Holding holding{.held_bytes = message.held_bytes(),
                  .order = message.order(),
                  .problem = message.problem(),
                  .picks = {message.picks().begin(), message.picks().end()}};
  ASSIGN_OR_RETURN(holding.held, from_proto(message.held(), config));
  return holding;
}

void to_proto(const Holding& holding, v1::Holding* message) {
  to_proto(holding.held, message->mutable_held());
  message->set_held_bytes(holding.held_bytes);
  message->set_order(holding.order);
  message->set_problem(holding.problem);
  message->mutable_picks()->Assign(holding.picks.begin(), holding.picks.end());
}

absl::StatusOr<Heartbeat> from_proto(const v1::Heartbeat& message, const ModelConfig& config) {
  Heartbeat beat{.draining = message.draining(),
                 .placement_version = message.placement_version(),
                 .node = from_proto(message.node()),
                 .experts = from_proto(message.experts())};
  if (message.has_holding()) {
    ASSIGN_OR_RETURN(beat.holding, from_proto(message.holding(), config));
  }
  return beat;
}

void to_proto(const Heartbeat& beat, v1::Heartbeat* message) {
  message->set_draining(beat.draining);
  message->set_placement_version(beat.placement_version);
  to_proto(beat.node, message->mutable_node());
  to_proto(beat.experts, message->mutable_experts());
  if (beat.holding) to_proto(*beat.holding, message->mutable_holding());
}

absl::StatusOr<ExpertOrder> from_proto(const v1::ExpertOrder& message, const ModelConfig& config) {
  ExpertOrder order{.order = message.order()};
  ASSIGN_OR_RETURN(order.hold, from_proto(message.hold(), config));
  return order;
}

void to_proto(const ExpertOrder& order, v1::ExpertOrder* message) {
  message->set_order(order.order);
  to_proto(order.hold, message->mutable_hold());
}

absl::StatusOr<ClusterView> from_proto(const v1::PlacementUpdate& message,
                                       const ModelConfig& config) {
  ClusterView view{.version = message.version()};
  int32_t lowest = 0;
  for (const v1::PlacedServer& server : message.servers()) {
    if (server.server_no() < lowest || server.server_no() == INT32_MAX) {
      return absl::InvalidArgumentError(
          absl::StrFormat("server %d: servers ascend from 0", server.server_no()));
    }
    ASSIGN_OR_RETURN(PlacedServer placed, from_proto(server, config));
    view.servers.push_back(std::move(placed));
    lowest = server.server_no() + 1;
  }
  return view;
}

void to_proto(const ClusterView& view, v1::PlacementUpdate* message) {
  message->set_version(view.version);
  for (const PlacedServer& server : view.servers) {
    v1::PlacedServer* const placed = message->add_servers();
    placed->set_server_no(static_cast<int32_t>(server.server));
    placed->set_server_id(server.id);
    placed->set_address(server.address);
    placed->set_shm_endpoint(server.shm_endpoint);
    to_proto(server.held, placed->mutable_held());
    placed->set_draining(server.draining);
  }
}

}  // namespace conclave
