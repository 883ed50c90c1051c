// The expert server's end of shared memory: links to the attention nodes and gateways of this
// machine. shm_link.h says how a link is made.
//
// The engine's thread itself reads the legs and writes the answers, in poll() and in the answers'
// `done`; a thread of its own lets clients in and notices when they have gone. What a client that
// has gone asked for is worked on and said to nobody. A client that writes nonsense loses its link.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "router/leg_source.h"
#include "router/shm/leg_record.h"
#include "router/shm/shm_link.h"
#include "router/shm/socket_watch.h"
#include "router/shm/unix_socket.h"

namespace conclave {

class ShmServer final : public LegSource {
 public:
  struct Options {
    int32_t max_links = 256;
    int32_t max_legs_in_flight = 64;  // of a link; further ones wait in its ring
    absl::Duration spin;              // before the engine's thread sleeps (common/doorbell.h)
  };

  // UNAVAILABLE or RESOURCE_EXHAUSTED where the machine does not give what it takes.
  static absl::StatusOr<std::unique_ptr<ShmServer>> open(const Options& options);

  // Hangs up on everybody. No leg is unanswered then.
  ~ShmServer() override;

  // What clients need to find this server; no use elsewhere than on this machine.
  std::string endpoint() const { return endpoint_.to_string(); }

  void poll(LegHandler* handler) override;
  Doorbell* bell() override { return bell_->bell(); }

  // Any thread.
  int32_t num_links() const { return num_links_.load(); }
  int64_t num_broken_links() const { return num_broken_links_.load(); }

 private:
  struct Client;
  using ClientNo = int64_t;

  ShmServer(const Options& options, ShmEndpoint endpoint);

  // The watch's thread.
  bool on_connection();
  bool pause_accepting();
  bool go_on_accepting();
  bool on_message(Client* client);

  // The engine's thread.
  void take_arrivals();
  bool serve(Client* client, LegHandler* handler);
  bool read_legs(Client* client, LegHandler* handler);
  void submit(Client* client, LegRecord record, LegHandler* handler);
  void answer(ClientNo to, LegSaid said);
  static void write_waiting(Client* client);
  void let_go(ClientNo client);

  const Options options_;
  const ShmEndpoint endpoint_;
  std::unique_ptr<SharedDoorbell> bell_;
  UniqueFd listener_;
  UniqueFd pause_end_;                 // a timerfd
  std::atomic<int32_t> num_links_{0};  // those that still greet among them
  std::atomic<int64_t> num_broken_links_{0};

  // Of the watch's thread.
  ClientNo next_client_ = 0;
  std::map<ClientNo, std::unique_ptr<Client>> greeting_;

  std::mutex mutex_;
  std::vector<std::unique_ptr<Client>> arrivals_;

  std::map<ClientNo, std::unique_ptr<Client>> clients_;  // of the engine's thread

  std::unique_ptr<SocketWatch> watch_;  // last: its thread uses all of the above
};

}  // namespace conclave
