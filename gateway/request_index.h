// Where every request under way is: in the queue or at a node, and under which keys it is found.
// Bookkeeping only; what happens to a request is the table's business.
//
// A request is in exactly one of two places: queued, or at a node with one run. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/time/time.h"
#include "common/ids.h"
#include "gateway/live_request.h"
#include "gateway/node_link.h"
#include "gateway/request.h"

namespace conclave {

struct TableEntry {
  TableEntry(LiveRequest live_request, ClientSink* client)
      : live(std::move(live_request)), sink(client) {}

  const GatewayRequest& request() const { return live.request(); }

  LiveRequest live;
  ClientSink* const sink;
  uint64_t arrival = 0;    // set by add()
  int64_t num_tokens = 0;  // that it computes at its longest

  bool at_node = false;  // else it is queued
  RunHandle handle{};    // while it is at a node
  ServerId node{};

  absl::Time submitted;
  absl::Time last_token;
  absl::Time not_before = absl::InfinitePast();  // while it is queued
  int32_t num_failures = 0;                      // since the last id
  bool was_at_node = false;

  // Since the last id: the nodes on which its runs broke and that are still members, and how many
  // nodes have gone that ran it then.
  std::set<ServerId> broke_on;
  int32_t num_nodes_lost = 0;
};

class RequestIndex {
 public:
  using QueueKey = std::pair<int32_t, uint64_t>;  // minus the priority, arrival

  // Queues a new request.
  // REQUIRES: find(its id) is null
  TableEntry* add(std::unique_ptr<TableEntry> entry);

  // From the queue to a node, as a new run.
  void move_to_node(TableEntry* entry, ServerId node);
  // Back to its place in the queue: before all that came later.
  void move_to_queue(TableEntry* entry);

  void erase(TableEntry* entry);

  // Null where there is none.
  TableEntry* find(const std::string& id) const;
  TableEntry* find(RunHandle handle) const;
  TableEntry* any() const;
  TableEntry* first_due() const;     // the one with the earliest deadline
  absl::Time next_deadline() const;  // its deadline; infinite where there is none

  // To look at; moving or erasing an entry invalidates its own iterator alone.
  const std::map<QueueKey, TableEntry*>& queue() const { return queue_; }
  const std::map<RunHandle, TableEntry*>& runs() const { return runs_; }

 private:
  using DeadlineKey = std::pair<absl::Time, uint64_t>;  // and arrival

  static QueueKey queue_key(const TableEntry& entry);
  static DeadlineKey deadline_key(const TableEntry& entry);

  std::unordered_map<std::string, std::unique_ptr<TableEntry>> entries_;  // by the client's id
  std::map<QueueKey, TableEntry*> queue_;
  std::map<RunHandle, TableEntry*> runs_;
  std::map<DeadlineKey, TableEntry*> deadlines_;
  uint64_t next_arrival_ = 0;
  uint64_t next_handle_ = 1;
};

}  // namespace conclave
