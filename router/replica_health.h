// What a router has seen of each expert server lately, and what follows from it: who is asked
// first, how long a leg is waited for, whether it may be sent to another.
//
//   avoided    A server that lost a leg is asked only where nobody else holds the expert, for a
//              pause that doubles with every further loss and starts anew after an answer.
//   weight     After that its picks count for more than those of others until it has answered for a
//              while, so that it gets its share back step by step. This also goes for one that
//              left the placement and is back soon.
//   silent     A server that let the deadline of a whole step pass is not asked at all for a while.
//   late       A server that was outrun by others, who were sent its picks as well, is avoided for
//              kPausePerLateness times as long as its leg was away, and twice as long each further
//              time until it answers: less than for a loss, and it keeps its weight, for most late
//              legs are stray ones of a server that is well, and whoever hangs is late again.
//   patience   kPatience times what the server's recent answers say of a leg of so many picks: a
//              line a + b * picks, fitted to them by least squares, older ones counting less. Never
//              under kLeastPatience. While too few are known, kFirstPatience and as much for each
//              pick as experts of a large model take where memory is slow.
//   hedging    After kHedge times that line, and never under kLeastHedgeDelay, a leg's picks may be
//              sent to others as well; never while too few answers are known.
//   retries    Legs may be sent again as often as answers have earned, kRetriesPerAnswer each, and
//              kMostRetries saved up: where everything is slow, retries must not make it slower.
//              Half of them are not for hedges: a server that dies finds them still there.
//
// A value of one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/ids.h"
#include "router/placement.h"

namespace conclave {

class ReplicaHealth {
 public:
  static constexpr absl::Duration kFirstPause = absl::Milliseconds(500);
  static constexpr absl::Duration kLongestPause = absl::Seconds(30);
  static constexpr absl::Duration kRemembered = absl::Minutes(1);  // a loss, after leaving
  static constexpr int64_t kFirstWeight = 8;                       // halves with kAnswersAStep
  static constexpr int32_t kAnswersAStep = 8;
  static constexpr double kPatience = 8;
  static constexpr absl::Duration kLeastPatience = absl::Milliseconds(100);
  static constexpr double kHedge = 3;
  static constexpr absl::Duration kLeastHedgeDelay = absl::Milliseconds(30);
  static constexpr int64_t kPausePerLateness = 4;
  static constexpr absl::Duration kFirstPatience = absl::Milliseconds(400);
  static constexpr absl::Duration kFirstPatiencePerPick = absl::Milliseconds(20);
  static constexpr double kRetriesPerAnswer = 0.1;
  static constexpr double kMostRetries = 64;
  static constexpr double kRetriesNotForHedges = kMostRetries / 2;

  // `clock` outlives this.
  explicit ReplicaHealth(const Clock* clock) : clock_(clock) {}

  // Every leg is sent, and then answered, lost, late, or none of these: given back without any news
  // of its server.
  void on_sent(ServerId server, int32_t num_picks);
  void on_answer(ServerId server, int32_t num_picks, absl::Duration latency);
  void on_loss(ServerId server, int32_t num_picks);
  void on_late(ServerId server, int32_t num_picks, absl::Duration away);
  void on_given_back(ServerId server, int32_t num_picks);

  // Says nothing of its legs, which are answered, lost and so on as ever.
  void on_silence(ServerId server, absl::Duration pause);

  // Forgets the servers that a placement does not name: who comes back is somebody else, and asked
  // little at first where the one before was lost lately.
  void keep_only(const Placement& placement);

  bool is_avoided(ServerId server) const;
  bool is_silent(ServerId server) const;
  int64_t picks_away(ServerId server) const;
  int64_t weight(ServerId server) const;  // what one pick of it counts; 1: as much as any
  absl::Duration patience(ServerId server, int32_t num_picks) const;
  absl::Duration hedge_delay(ServerId server, int32_t num_picks) const;

  bool has_retry() const { return retries_ >= 1; }
  bool has_hedge() const { return retries_ >= kRetriesNotForHedges + 1; }
  void take_retry();

 private:
  // Sums over recent answers, x = picks, y = seconds.
  struct Fit {
    int64_t num_answers = 0;
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;

    void add(double picks, double seconds);
    double seconds_of(double picks) const;
  };
  struct Server {
    int64_t picks_away = 0;
    absl::Duration pause;
    absl::Time avoided_until = absl::InfinitePast();
    absl::Time silent_until = absl::InfinitePast();
    absl::Time lost_at = absl::InfinitePast();
    int64_t weight = 1;
    int32_t num_answers_at_weight = 0;
    Fit fit;
  };

  Server* find(ServerId server);
  const Server* find(ServerId server) const;
  std::optional<absl::Duration> usual_time(ServerId server, int32_t num_picks) const;

  const Clock* const clock_;
  std::map<ServerId, Server> servers_;
  double retries_ = kMostRetries;
};

}  // namespace conclave
