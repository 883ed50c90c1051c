// The life of every request at the gateway: queued, assigned to an attention node, followed,
// replayed on another node when that one is lost, ended.
//
//   submit -> queued <-> at a node -> ended: finished, failed, or the client is gone
//
// A request is in exactly one of these places. While it is at a node it has one run; events of any
// other run are ignored. What makes it go back to the queue, with all ids so far, is no business of
// the client: a node that is gone, a run that broke (UNAVAILABLE, and CANCELLED or UNKNOWN, which
// nodes never say but gRPC does of lines that go down) and a node that was full. Other statuses end
// the request. One that fails again and again without an id in between waits longer each time; its
// tries are bounded by the deadline, and by max_nodes_lost: one that may be what kills its nodes is
// not given to all of them.
//
// The queue goes by priority, then by arrival, so a replayed request is before younger ones. One
// that no node has room for does not hold up a smaller one.
//
// One thread, which calls submit and the events as they come, and tick() when it says. Before the
// table goes, fail_all() lets everybody know.
// Neither sinks nor the link nor the observer may call back. An event costs the logarithm of the
// number of requests, plus one look at each queued request while some node has room.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "gateway/backoff.h"
#include "gateway/live_request.h"
#include "gateway/node_link.h"
#include "gateway/node_pool.h"
#include "gateway/request.h"
#include "gateway/request_index.h"
#include "gateway/server_facts.h"
#include "gateway/table_stats.h"

namespace conclave {

class RequestTable {
 public:
  struct Options {
    ModelLimits model;
    int32_t max_queued = 1024;
    NodePool::Options nodes;
    Backoff backoff;  // of one request, from its second failure in a row
    // That have left the cluster while they ran a request, without an id of it in between; after
    // that it is INTERNAL.
    int32_t max_nodes_lost = 4;
  };
  // All outlive the table; tokenizer and observer may be null.
  struct Parts {
    const Clock* clock = nullptr;
    NodeLink* link = nullptr;
    const Tokenizer* tokenizer = nullptr;
    TableObserver* observer = nullptr;
  };

  RequestTable(const Parts& parts, const Options& options);
  RequestTable(const RequestTable&) = delete;
  RequestTable& operator=(const RequestTable&) = delete;

  // After an OK the sink hears of the request until it ends. Otherwise it hears nothing:
  // ALREADY_EXISTS for an id under way, RESOURCE_EXHAUSTED for a full queue or a request longer
  // than every node's cache, DEADLINE_EXCEEDED, UNAVAILABLE after stop_accepting().
  // REQUIRES: check_client_request() was OK
  absl::Status submit(GatewayRequest request, ClientSink* sink);

  // Its sink gets CANCELLED. False: there is none (any more).
  bool cancel(const std::string& id);

  // The sink is called no more. No effect where the request has ended, also if another client has
  // taken its id since.
  void client_gone(const std::string& id, const ClientSink* sink);

  void on_tokens(RunHandle handle, RunBatch batch);
  void on_run_finished(RunHandle handle, RunEnd end);
  void on_run_failed(RunHandle handle, const absl::Status& status);

  // The attention nodes there are now; runs on those that are gone are replayed.
  void nodes_changed(const std::vector<NodeInfo>& nodes);

  // Ends what is over its deadline and tries again what waited. Returns when to call next, if no
  // event comes before; infinite: never.
  absl::Time tick();

  // What keeps nodes from going on, in words ("no server holds layer 4: expert 7"), for requests
  // whose deadline passes at a node. Empty: nothing.
  void set_cluster_problem(std::string problem) { cluster_problem_ = std::move(problem); }

  // New requests are refused from now on; those under way go on.
  void stop_accepting() { accepting_ = false; }
  // Ends all that are under way.
  void fail_all(const absl::Status& status);

  const TableCounters& counters() const { return counters_; }
  int32_t num_queued() const { return static_cast<int32_t>(index_.queue().size()); }
  int32_t num_assigned() const { return static_cast<int32_t>(index_.runs().size()); }

 private:
  absl::Status check_submit(const GatewayRequest& request) const;
  void say(TableEntry* entry, AnswerDelta delta);
  void observe(TableEntry* entry, size_t num_ids);

  void dispatch();
  void start_run(TableEntry* entry, ServerId node);
  void requeue(TableEntry* entry);
  void lose_run(TableEntry* entry);
  void blame(ServerId lost_node);
  std::string waited_for(const TableEntry& entry) const;

  void finish(TableEntry* entry, RunEnd end);
  void fail(TableEntry* entry, const absl::Status& status);
  void expire(TableEntry* entry);
  void cancel_run(const TableEntry& entry);
  void remove(TableEntry* entry);

  const Options options_;
  const Clock* const clock_;
  NodeLink* const link_;
  const Tokenizer* const tokenizer_;
  TableObserver* const observer_;

  NodePool pool_;
  RequestIndex index_;
  TableCounters counters_;
  std::string cluster_problem_;
  bool accepting_ = true;
};

}  // namespace conclave
