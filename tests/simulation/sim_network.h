// The network between simulated processes: delays, cuts, lost and doubled legs, connections that
// break.
//
// Streams are gRPC's as their users see them: messages come in order, each once, until the stream
// breaks, and after a break nothing. A cut says nothing to anybody: what is sent waits until the
// cut heals, as TCP does. A process that is killed breaks its streams; a part of what it had sent
// last may be lost with it. Legs are not in order, may be lost and may come twice.
//
// What is delivered runs in the receiving process (SimProcess::run()).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/simulation/sim_process.h"
#include "tests/simulation/sim_random.h"
#include "tests/simulation/virtual_time.h"

namespace conclave {

enum class StreamId : uint64_t {};

class SimNetwork {
 public:
  struct Options {
    absl::Duration least_delay = absl::Microseconds(50);
    absl::Duration most_delay = absl::Milliseconds(1);
    double detour = 0.01;  // how often something takes up to 30 times as long
  };
  // One incarnation of a process.
  struct Target {
    SimProcess* process = nullptr;
    uint64_t incarnation = 0;
  };
  using OnBreak = std::function<void(const absl::Status&)>;

  // `time` and the processes outlive this.
  SimNetwork(VirtualTime* time, uint64_t seed, const Options& options)
      : options_(options), time_(time), random_(seed, /*salt=*/1) {}

  // Of legs, from now on.
  void set_loss(double probability) { loss_ = probability; }
  void set_doubling(double probability) { doubling_ = probability; }
  void set_damage(double probability) { damage_ = probability; }

  // Whether the answer that is sent now comes damaged.
  bool damages() { return random_.chance(damage_); }

  // A null `b` is everybody else.
  void cut(const SimProcess* a, const SimProcess* b);
  void heal(const SimProcess* a, const SimProcess* b);
  bool is_cut(const SimProcess* a, const SimProcess* b) const;

  // Opens a stream: `on_open` runs at `to`, `on_break` at `from` when it has ended from the other
  // side. Where nobody lives at `to`, that is soon.
  StreamId open(SimProcess* from, SimProcess* to, std::function<void(StreamId)> on_open,
                OnBreak on_break);
  // The other side's.
  void set_on_break(StreamId stream, OnBreak on_break);

  // No effect on a stream that has ended.
  void send(StreamId stream, const SimProcess* from, std::function<void()> message);
  // After what was sent; `by` hears no more of it.
  void close(StreamId stream, const SimProcess* by, const absl::Status& status);

  // Both sides hear of it at once: a connection that was reset between them.
  void reset(const SimProcess* a, const SimProcess* b);

  // Before SimProcess::kill().
  void on_kill(const SimProcess* process);

  // Something small that may be lost, doubled and overtaken.
  void send_leg(const SimProcess* from, const Target& to, const std::function<void()>& arrive);

  size_t num_streams() const { return streams_.size(); }

 private:
  struct Message {
    absl::Time due;
    std::function<void()> arrive;
    bool is_last = false;
    absl::Status end;  // of the last
  };
  // One end of a stream and what is on its way there.
  struct End {
    SimProcess* process = nullptr;
    uint64_t incarnation = 0;  // 0: nobody has heard of the stream there yet
    bool open = true;
    OnBreak on_break = [](const absl::Status&) {};
    std::deque<Message> incoming;
    bool is_pumping = false;
  };
  struct Stream {
    End ends[2];
  };

  absl::Duration delay();
  void post(StreamId id, int to, Message message);
  void pump_at(StreamId id, int to, absl::Time when);
  void pump(StreamId id, int to);
  void deliver(StreamId id, int to, Message message);
  void refuse(StreamId id, int to);
  void leave(StreamId id, int end);
  Stream* find(StreamId id);
  static int end_of(const Stream& stream, const SimProcess* process) {
    return stream.ends[0].process == process ? 0 : 1;
  }
  void arrive_leg(const SimProcess* from, const Target& to, const std::function<void()>& arrive);

  const Options options_;
  VirtualTime* const time_;
  SimRandom random_;
  double loss_ = 0;
  double doubling_ = 0;
  double damage_ = 0;
  std::multiset<std::pair<const SimProcess*, const SimProcess*>> cuts_;
  std::map<StreamId, Stream> streams_;
  uint64_t next_stream_ = 1;
};

}  // namespace conclave
