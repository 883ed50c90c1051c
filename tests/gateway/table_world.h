// A small world around a request table, in which anything may happen: nodes that come, go, restart,
// fill up and break runs, clients that cancel and leave, time that passes.
//
// Its nodes generate next_id(prompt, position), so what a client must hear is known in advance
// whatever happened on the way. Everything follows from the seed.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gateway/request_table.h"
#include "tests/gateway/table_fakes.h"
#include "tests/support/manual_clock.h"

namespace conclave {

class TableWorld {
 public:
  static constexpr int32_t kVocab = 2048;
  static constexpr int32_t kMaxPositions = 60;
  static constexpr int32_t kStopId = 1;

  // `tokenizer` outlives the world.
  TableWorld(const Tokenizer* tokenizer, uint32_t seed);

  // One random event.
  void step();
  // Mends everything and lets all requests come to their end.
  void settle();
  // Holds what every client heard against what it must have heard.
  void check_clients() const;
  // Nothing is left anywhere.
  void check_empty() const;

  const RequestTable& table() const { return table_; }

 private:
  enum class Wish { kNone, kCancelled, kGone };  // of the client

  struct Client {
    GatewayRequest request;
    FakeSink sink;
    Wish wish = Wish::kNone;
  };
  struct Node {
    NodeInfo info;
    bool sick = false;  // breaks every run it gets
  };

  uint32_t roll(uint32_t sides) { return random_() % sides; }
  static int32_t next_id(const GatewayRequest& request, size_t position);
  static std::vector<int32_t> whole_answer(const GatewayRequest& request);
  void check_client(const Client& client) const;
  void check_finished(const Client& client, const std::vector<int32_t>& answer) const;

  void submit();
  void submit_twice();
  GatewayRequest random_request();
  void change_nodes();
  void tell_nodes();
  void drop_client();
  void pass_time();
  void work_on_run();
  void speak(RunHandle handle, const FakeLink::Run& run, size_t num_ids);
  void break_run(RunHandle handle);

  const Tokenizer* const tokenizer_;
  std::mt19937 random_;
  ManualClock clock_;
  FakeLink link_;
  RequestTable table_;
  std::map<int32_t, Node> nodes_;
  std::list<Client> clients_;
  std::map<std::string, Client*> by_id_;    // of those under way or ended: ids are never used again
  std::map<RunHandle, size_t> num_spoken_;  // ids that a run said
  int32_t next_client_ = 0;
  uint64_t next_incarnation_ = 1;
};

}  // namespace conclave
