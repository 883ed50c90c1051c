// Legs to expert servers of other processes: two warm streams per server, one a lane, each on a
// connection of its own.
//
// Replies are written inside send(), wait(), cancel() and set_servers(), on the step thread, which
// is the only one that may call anything here.
//
// A leg is UNAVAILABLE when its server is unknown, dropped, down or lost on the way;
// RESOURCE_EXHAUSTED over max_legs_in_flight; DATA_LOSS when a frame was damaged, which ends the
// stream for all; INVALID_ARGUMENT when it is larger than a frame; INTERNAL when the answer is not
// of the type and width that were asked for. Everything else is the server's word. How many rows an
// answer must have is for the router to check.
#pragma once

#include <grpcpp/security/credentials.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "common/clock.h"
#include "common/ids.h"
#include "router/transport.h"
#include "router/wire/connection.h"
#include "router/wire/reconnect_pause.h"
#include "router/wire/stream_hub.h"

namespace conclave {

class GrpcTransport final : public Transport {
 public:
  struct Server {
    ServerId id{};
    std::string address;  // HOST:PORT
  };
  struct Options {
    int32_t max_legs_in_flight = 256;  // per lane of a server
    ReconnectPause::Options reconnect;
    std::shared_ptr<grpc::ChannelCredentials> credentials;  // null: plain text
  };
  // Since the start; for metrics.
  struct Counters {
    uint64_t num_dropped_answers = 0;  // to legs that were given up, or to none
    uint64_t num_lost_streams = 0;
  };

  // `clock` outlives this.
  GrpcTransport(const Clock* clock, const Options& options);

  // Legs that are away are forgotten: their replies stay as they are.
  ~GrpcTransport() override;

  // From now on these, each id once. Connects to those that are new or have moved and drops those
  // that are gone; what was away to them is UNAVAILABLE.
  void set_servers(std::span<const Server> servers);

  void send(const LegRequest& request, LegReply* reply) override;

  // REQUIRES: a leg is away, or `until` is finite
  bool wait(absl::Time until) override;
  void cancel(LegReply* reply, absl::Status status) override;

  // Takes in what has come, without waiting, for who waits on more than this.
  void poll() { hub_.poll(); }
  bool has_legs_away() const { return !away_.empty(); }
  uint64_t num_finished() const { return num_finished_; }  // legs that were away and are done

  const Counters& counters() const { return counters_; }

 private:
  class LaneEnd;

  // A leg that is away.
  struct Away {
    LegReply* reply = nullptr;
    LaneEnd* lane = nullptr;
    RowsKind asked;
  };
  struct Lanes {
    std::string address;
    std::unique_ptr<LaneEnd> decode;
    std::unique_ptr<LaneEnd> prefill;
  };

  Lanes connect(const Server& server);
  absl::Status try_send(const LegRequest& request, LegReply* reply);
  absl::Status on_answer(const grpc::ByteBuffer& frame, const LaneEnd& from);
  void on_lost(const LaneEnd& lane, const absl::Status& status);
  void finish(std::map<uint64_t, Away>::iterator away, absl::Status status);

  const Clock* const clock_;
  const Options options_;
  StreamHub hub_;  // outlives the lanes
  std::map<ServerId, Lanes> servers_;
  std::map<uint64_t, Away> away_;  // by sequence number
  uint64_t next_sequence_ = 1;
  uint64_t num_finished_ = 0;
  Counters counters_;
};

}  // namespace conclave
