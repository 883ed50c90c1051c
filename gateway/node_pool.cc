#include "gateway/node_pool.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace conclave {
namespace {

bool same_room(const NodeLoad& a, const NodeLoad& b) {
  return a.num_running == b.num_running && a.num_waiting == b.num_waiting &&
         a.num_free_pages == b.num_free_pages;
}

}  // namespace

std::vector<ServerId> NodePool::lost_in(const std::vector<NodeInfo>& nodes) const {
  std::vector<ServerId> lost;
  for (const auto& entry : nodes_) {
    const NodeInfo& known = entry.second.info;
    const bool lives = std::any_of(nodes.begin(), nodes.end(), [&](const NodeInfo& info) {
      return info.server == known.server && info.incarnation == known.incarnation;
    });
    if (!lives) lost.push_back(known.server);
  }
  return lost;
}

void NodePool::update(const std::vector<NodeInfo>& nodes) {
  for (const ServerId server : lost_in(nodes)) {
    CHECK(nodes_.at(server).num_requests == 0);
    nodes_.erase(server);
  }
  for (const NodeInfo& info : nodes) {
    Node& node = nodes_[info.server];
    if (!same_room(node.info.load, info.load)) node.full_until = absl::InfinitePast();
    node.info = info;
  }
}

NodeState NodePool::state_of(const Node& node, absl::Time now) const {
  return {.server = node.info.server,
          .open = !node.info.draining && now >= node.full_until && now >= node.retry_at,
          .cache_tokens = node.info.cache_tokens,
          .max_requests = node.info.max_requests,
          .outstanding_tokens = node.outstanding_tokens,
          .num_requests = node.num_requests};
}

absl::StatusOr<ServerId> NodePool::choose(int64_t num_tokens) const {
  const absl::Time now = clock_->now();
  std::vector<NodeState> states;
  states.reserve(nodes_.size());
  for (const auto& [server, node] : nodes_) states.push_back(state_of(node, now));
  return choose_node(states, num_tokens);
}

bool NodePool::has_room() const {
  const absl::Time now = clock_->now();
  return std::any_of(nodes_.begin(), nodes_.end(), [this, now](const auto& entry) {
    return state_of(entry.second, now).has_room();
  });
}

void NodePool::assign(ServerId server, int64_t num_tokens) {
  Node& node = nodes_.at(server);
  node.outstanding_tokens += num_tokens;
  ++node.num_requests;
}

void NodePool::release(ServerId server, int64_t num_tokens) {
  Node& node = nodes_.at(server);
  node.outstanding_tokens -= num_tokens;
  --node.num_requests;
  CHECK(node.outstanding_tokens >= 0);
  CHECK(node.num_requests >= 0);
}

void NodePool::mark_full(ServerId server) {
  const auto found = nodes_.find(server);
  if (found != nodes_.end()) found->second.full_until = clock_->now() + options_.full_pause;
}

void NodePool::mark_failed(ServerId server) {
  const auto found = nodes_.find(server);
  if (found == nodes_.end()) return;
  Node& node = found->second;
  const absl::Time now = clock_->now();
  if (now < node.retry_at) return;  // all runs of a dying node fail: that is one failure
  ++node.num_failures;
  node.retry_at = now + options_.backoff.after(node.num_failures);
}

void NodePool::mark_alive(ServerId server) {
  const auto found = nodes_.find(server);
  if (found == nodes_.end()) return;
  found->second.num_failures = 0;
  found->second.retry_at = absl::InfinitePast();
}

absl::Time NodePool::next_retry() const {
  const absl::Time now = clock_->now();
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [server, node] : nodes_) {
    const absl::Time open_at = std::max(node.full_until, node.retry_at);
    if (open_at > now) next = std::min(next, open_at);
  }
  return next;
}

std::string NodePool::problem() const {
  if (nodes_.empty()) return "no attention node is registered";
  const absl::Time now = clock_->now();
  const auto all = [this](auto is) {
    return std::all_of(nodes_.begin(), nodes_.end(),
                       [&is](const auto& entry) { return is(entry.second); });
  };
  if (all([](const Node& node) { return node.info.draining; })) {
    return "every attention node is draining";
  }
  if (all([now](const Node& node) { return node.info.draining || now < node.retry_at; })) {
    return "no attention node answers";
  }
  return "every attention node is full";
}

}  // namespace conclave
