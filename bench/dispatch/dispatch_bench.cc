// How long rows are on their way: legs of 1, 16 and 64 rows of D = 7168 in bf16, one pick a row, to
// 1 and to 8 servers at once and back, over each transport, through what an attention node sends
// with (services/server/leg_transport.h).
//
//   p50, p99          a round trip, until the last server has answered
//   of the limit      p50 over a bare round trip of as many bytes to as many processes (grpc: TCP,
//                     shm: copied in and out, a futex), both of the same round of this run
//   CPU per row       of all processes together, and of the one that sends alone

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "bench/dispatch/echo_server.h"
#include "bench/limits/limits.h"
#include "bench/report/cpu_time.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/host_memory.h"
#include "services/server/leg_transport.h"

namespace conclave {
namespace {

constexpr int32_t kCols = 7168;
constexpr int32_t kWarmup = 100;

struct Flags {
  std::vector<std::string> transports = {"shm", "grpc"};
  std::vector<int32_t> servers = {1, 8};
  std::vector<int32_t> rows = {1, 16, 64};
  int32_t rounds = 5;
};

struct Case {
  std::string transport;
  int32_t num_servers = 1;
  int32_t num_rows = 1;
};

// Everything that legs of one case are made of.
class Legs {
 public:
  Legs(const Case& which, Transport* transport, const Clock* clock)
      : case_(which),
        transport_(transport),
        clock_(clock),
        rows_(std::vector(static_cast<size_t>(which.num_rows) * kCols * 2, std::byte{1})),
        replies_(static_cast<size_t>(which.num_servers)) {
    for (int32_t i = 0; i <= which.num_rows; ++i) pick_begin_.push_back(i);
    pick_expert_.assign(static_cast<size_t>(which.num_rows), 0);
  }

  // Seconds until all have answered.
  double round_trip() {
    const auto begin = std::chrono::steady_clock::now();
    for (int32_t i = 0; i < case_.num_servers; ++i) {
      transport_->send({.server = ServerId{i},
                        .pick_begin = pick_begin_,
                        .pick_expert = pick_expert_,
                        .num_cols = kCols,
                        .rows = rows_},
                       &replies_[static_cast<size_t>(i)]);
    }
    while (!all_done()) CHECK(transport_->wait(clock_->now() + absl::Seconds(30)));
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    for (const LegReply& reply : replies_) {
      CHECK(reply.status.ok());
      CHECK(reply.rows.size() == rows_.size());
      CHECK(reply.via == case_.transport);
    }
    return time.count();
  }

  // Whether the last answers were what went out; apart from round_trip(), for it takes CPU time.
  void check_answers() const {
    for (const LegReply& reply : replies_) {
      CHECK(std::memcmp(reply.rows.data(), rows_.data(), rows_.size()) == 0);
    }
  }

 private:
  bool all_done() const {
    return std::all_of(replies_.begin(), replies_.end(), [](const auto& one) { return one.done; });
  }

  const Case case_;
  Transport* const transport_;
  const Clock* const clock_;
  const SharedBytes rows_;
  std::vector<int32_t> pick_begin_;
  std::vector<int32_t> pick_expert_;
  std::vector<LegReply> replies_;
};

// Links take a moment; until then legs are UNAVAILABLE or go another way.
void wait_until_linked(const Case& which, Transport* transport, const Clock* clock) {
  const absl::Time until = clock->now() + absl::Seconds(30);
  const SharedBytes row = SharedBytes::of_size(kCols * 2);
  const std::vector<int32_t> begin = {0, 1};
  const std::vector<int32_t> expert = {0};
  for (int32_t i = 0; i < which.num_servers;) {
    LegReply reply;
    transport->send({.server = ServerId{i},
                     .pick_begin = begin,
                     .pick_expert = expert,
                     .num_cols = kCols,
                     .rows = row},
                    &reply);
    while (!reply.done) transport->wait(clock->now() + absl::Seconds(1));
    if (reply.status.ok()) {
      ++i;
    } else {
      transport->wait(clock->now() + absl::Milliseconds(5));
    }
    CHECK(clock->now() < until);
  }
}

void measure(const Case& which, int32_t num_rounds, const Report& report) {
  const SystemClock clock;
  EchoServers servers(which.num_servers);
  TransportFlags flags;
  flags.transport = which.transport;
  const std::unique_ptr<LegTransport> transport = *LegTransport::create(&clock, flags);
  transport->set_servers(servers.view());
  wait_until_linked(which, transport.get(), &clock);

  Legs legs(which, transport.get(), &clock);
  const int32_t trips = which.num_rows * which.num_servers >= 64 ? 300 : 1000;
  const TripShape bare{int64_t{which.num_rows} * kCols * 2, which.num_servers};
  std::vector<double> p50;
  std::vector<double> p99;
  std::vector<double> cpu;
  std::vector<double> own_cpu;
  std::vector<double> limits;
  for (int32_t i = 0; i < kWarmup; ++i) legs.round_trip();
  for (int32_t round = 0; round < num_rounds; ++round) {
    limits.push_back(which.transport == "shm" ? measure_shm_round_trip(bare, 1).median
                                              : measure_tcp_round_trip(bare, 1).median);
    std::vector<double> times;
    const double own_before = own_cpu_seconds();
    const double servers_before = servers.cpu_seconds();
    for (int32_t i = 0; i < trips; ++i) times.push_back(legs.round_trip());
    const double num_rows = trips * which.num_rows * which.num_servers;
    own_cpu.push_back((own_cpu_seconds() - own_before) / num_rows);
    cpu.push_back(own_cpu.back() + (servers.cpu_seconds() - servers_before) / num_rows);
    legs.check_answers();
    std::sort(times.begin(), times.end());
    p50.push_back(times[times.size() / 2]);
    p99.push_back(times[times.size() * 99 / 100]);
  }
  const std::string name = absl::StrFormat("%s, %d rows to %d servers", which.transport,
                                           which.num_rows, which.num_servers);
  report.add({name, "p50", "s", spread_of(p50)});
  report.add({name, "p99", "s", spread_of(p99)});
  report.add({name, "p50 of the limit", "ratio", spread_of_ratios(p50, limits)});
  report.add({name, "CPU per row", "s", spread_of(cpu)});
  report.add({name, "CPU per row, sender", "s", spread_of(own_cpu)});
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  using namespace conclave;
  if (argc == 2 && std::strcmp(argv[1], kEchoFlag) == 0) return run_echo_server();
  keep_freed_memory();  // as the servers do (services/server/serve.cc)
  Flags flags;
  CLI::App app("Legs to servers that say them back");
  app.add_option("--transports", flags.transports, "Which ways")
      ->delimiter(',')
      ->check(CLI::IsMember({"shm", "grpc"}));
  app.add_option("--servers", flags.servers, "How many servers a trip goes to")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  app.add_option("--rows", flags.rows, "Rows of a leg")->delimiter(',')->check(CLI::Range(1, 1024));
  app.add_option("--rounds", flags.rounds, "How often each is measured")->check(CLI::Range(1, 99));
  CLI11_PARSE(app, argc, argv);
  const Report report("dispatch");
  report_round_trips(report);
  for (const std::string& transport : flags.transports) {
    for (const int32_t num_servers : flags.servers) {
      for (const int32_t num_rows : flags.rows) {
        measure({transport, num_servers, num_rows}, flags.rounds, report);
      }
    }
  }
  return 0;
}
