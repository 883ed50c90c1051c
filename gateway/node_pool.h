// The attention nodes as the request table knows them: what control says of them, what was assigned
// to them from here, and whether they answered lately.
//
//   full        a node refused a request for want of room; nothing goes to it until its load
//               changes or `full_pause` is over
//   failing     a run on it ended UNAVAILABLE; nothing goes to it for a while, which doubles each
//               time that it fails again without a token in between
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/ids.h"
#include "gateway/assignment.h"
#include "gateway/backoff.h"
#include "gateway/server_facts.h"

namespace conclave {

class NodePool {
 public:
  struct Options {
    absl::Duration full_pause = absl::Milliseconds(250);
    Backoff backoff;
  };

  // `clock` outlives this.
  NodePool(const Clock* clock, const Options& options) : options_(options), clock_(clock) {}

  // The known nodes that `nodes` has no more, or as another process: what ran there is lost.
  std::vector<ServerId> lost_in(const std::vector<NodeInfo>& nodes) const;

  // REQUIRES: nothing is assigned any more to those that are lost_in(nodes)
  void update(const std::vector<NodeInfo>& nodes);

  // See choose_node().
  absl::StatusOr<ServerId> choose(int64_t num_tokens) const;
  bool has_room() const;  // some node takes requests now

  void assign(ServerId server, int64_t num_tokens);
  void release(ServerId server, int64_t num_tokens);

  // These have no effect for nodes that are gone.
  void mark_full(ServerId server);
  void mark_failed(ServerId server);
  void mark_alive(ServerId server);

  // When the first of those that are full or failing is tried again; infinite: none is.
  absl::Time next_retry() const;

  // Why no node takes a request now: "no attention node is registered".
  std::string problem() const;

 private:
  struct Node {
    NodeInfo info;
    int64_t outstanding_tokens = 0;
    int32_t num_requests = 0;
    absl::Time full_until = absl::InfinitePast();
    absl::Time retry_at = absl::InfinitePast();
    int32_t num_failures = 0;  // since the last token
  };

  NodeState state_of(const Node& node, absl::Time now) const;

  const Options options_;
  const Clock* const clock_;
  std::map<ServerId, Node> nodes_;
};

}  // namespace conclave
