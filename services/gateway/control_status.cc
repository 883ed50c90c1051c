#include "services/gateway/control_status.h"

#include "absl/strings/str_cat.h"
#include "services/server/control_codec.h"
#include "services/server/serve.h"

namespace conclave {
namespace {

void add_node(const MemberStatus& member, v1::NodeStatus* node) {
  node->set_server_id(member.facts->id);
  node->set_address(member.facts->address);
  node->set_metrics_address(member.facts->metrics_address);
  node->set_draining(member.last.draining);
  to_proto(member.last.node, node->mutable_load());
  node->set_silence_seconds(absl::ToDoubleSeconds(member.silence));
  node->set_placement_version(member.last.placement_version);
}

void add_expert_server(const MemberStatus& member, v1::ExpertServerStatus* server) {
  server->set_server_no(static_cast<int32_t>(member.server));
  server->set_server_id(member.facts->id);
  server->set_address(member.facts->address);
  server->set_metrics_address(member.facts->metrics_address);
  server->set_draining(member.last.draining);
  to_proto(member.last.experts, server->mutable_load());
  to_proto(member.facts->held, server->mutable_held());
  server->set_held_bytes(member.facts->held_bytes);
  server->set_silence_seconds(absl::ToDoubleSeconds(member.silence));
  server->set_managed(member.facts->managed);
  server->set_capacity_bytes(member.facts->capacity_bytes);
  if (member.last.holding) server->set_problem(member.last.holding->problem);
}

}  // namespace

void fill_status(ClusterState* state, v1::GetStatusResponse* response) {
  const Membership& membership = *state->membership();
  response->set_version(server_version());
  response->set_placement_version(membership.placement().version);
  response->set_exact(membership.exact());
  response->set_ready(membership.ever_covered());
  const Coverage& coverage = membership.coverage();
  response->mutable_coverage()->set_num_covered(static_cast<int32_t>(coverage.num_covered));
  response->mutable_coverage()->set_num_total(static_cast<int32_t>(coverage.num_total));
  to_proto(coverage.missing, response->mutable_coverage()->mutable_missing());
  for (const MemberStatus& member : membership.members()) {
    if (member.facts->role == ServerRole::kAttentionNode) {
      add_node(member, response->add_nodes());
    } else {
      v1::ExpertServerStatus* const server = response->add_expert_servers();
      add_expert_server(member, server);
      server->set_num_to_load(state->placement()->num_to_load(member.server));
    }
  }
  if (state->table() != nullptr) {
    response->set_num_queued(state->table()->num_queued());
    response->set_num_assigned(state->table()->num_assigned());
  }
  for (const double ratio : membership.layer_imbalance()) response->add_layer_imbalance(ratio);
}

v1::NodesUpdate nodes_update(const ClusterState& state) {
  v1::NodesUpdate update;
  update.set_ready(state.summary().ready);
  update.set_covered(state.summary().covered);
  update.set_problem(state.summary().problem);
  for (const NodeInfo& info : state.nodes()) {
    v1::PlacedNode* const node = update.add_nodes();
    node->set_server_no(static_cast<int32_t>(info.server));
    node->set_server_id(info.id);
    node->set_incarnation(info.incarnation);
    node->set_address(info.address);
    node->set_draining(info.draining);
    node->set_cache_tokens(info.cache_tokens);
    node->set_max_requests(info.max_requests);
    to_proto(info.load, node->mutable_load());
  }
  return update;
}

absl::StatusOr<std::vector<NodeInfo>> nodes_from(const v1::NodesUpdate& message) {
  std::vector<NodeInfo> nodes;
  for (const v1::PlacedNode& node : message.nodes()) {
    if (!nodes.empty() && static_cast<int32_t>(nodes.back().server) >= node.server_no()) {
      return absl::InvalidArgumentError(
          absl::StrCat("nodes do not ascend at number ", node.server_no()));
    }
    nodes.push_back({.server = ServerId{node.server_no()},
                     .incarnation = node.incarnation(),
                     .id = node.server_id(),
                     .address = node.address(),
                     .draining = node.draining(),
                     .cache_tokens = node.cache_tokens(),
                     .max_requests = node.max_requests(),
                     .load = from_proto(node.load())});
    const absl::Status status = check_node_info(nodes.back());
    if (status.ok()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("node number ", node.server_no(), ": ", status.message()));
  }
  return nodes;
}

}  // namespace conclave
