// Legs to expert servers of this machine, through shared memory (shm_link.h).
//
// The step thread writes requests and reads answers itself. It sleeps on one doorbell, which all
// servers ring, and which others may ring for it too; a thread of the transport's own only notices
// that servers have gone. A server that has gone is tried again now and then.
//
// A leg is UNAVAILABLE when its server has no link or is lost on the way; RESOURCE_EXHAUSTED over
// max_legs_in_flight; INVALID_ARGUMENT when it is larger than a record; INTERNAL when the answer is
// not of the type and width that were asked for. Everything else is the server's word.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/ids.h"
#include "router/shm/leg_record.h"
#include "router/shm/shm_link.h"
#include "router/shm/socket_watch.h"
#include "router/transport.h"

namespace conclave {

class ShmTransport final : public Transport {
 public:
  struct Server {
    ServerId id{};
    std::string endpoint;  // ShmServer::endpoint()
  };
  struct Options {
    int32_t max_legs_in_flight = 256;  // per server
    absl::Duration spin;               // before the step thread sleeps (common/doorbell.h)
    absl::Duration retry_pause = absl::Milliseconds(500);
  };

  // `clock` outlives the transport.
  static absl::StatusOr<std::unique_ptr<ShmTransport>> create(const Clock* clock,
                                                              const Options& options);

  // Legs that are away are forgotten: their replies stay as they are.
  ~ShmTransport() override;

  // From now on these, each id once; those of other machines are never reached.
  void set_servers(std::span<const Server> servers);

  // Whether there is a link: a leg to this server would go.
  bool reaches(ServerId server) const;

  void send(const LegRequest& request, LegReply* reply) override;
  bool wait(absl::Time until) override;
  void cancel(LegReply* reply, absl::Status status) override;

  // Takes in what has come, without waiting; wait() in two halves for who waits on more than this.
  void poll();
  bool has_legs_away() const { return !away_.empty(); }
  uint64_t num_finished() const { return num_finished_; }  // legs that were away and are done
  Doorbell* bell() { return bell_->bell(); }

 private:
  struct Peer;
  struct Away {
    LegReply* reply = nullptr;
    Peer* peer = nullptr;
    RowsKind asked;
  };

  ShmTransport(const Clock* clock, const Options& options);

  absl::Status try_send(const LegRequest& request, LegReply* reply);
  void connect(Peer* peer);
  void look_at(Peer* peer);
  absl::Status read_answers(Peer* peer);
  void on_answer(Peer* peer, LegSaid said);
  static void write_waiting(Peer* peer);
  void hang_up(Peer* peer, const absl::Status& why);
  void finish(std::map<uint64_t, Away>::iterator away, absl::Status status);

  const Clock* const clock_;
  const Options options_;
  std::unique_ptr<SharedDoorbell> bell_;
  std::unique_ptr<SocketWatch> watch_;
  std::map<ServerId, std::unique_ptr<Peer>> peers_;
  std::map<uint64_t, Away> away_;  // by sequence number
  uint64_t next_sequence_ = 1;
  uint64_t num_finished_ = 0;
};

}  // namespace conclave
