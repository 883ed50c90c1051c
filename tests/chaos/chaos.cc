// Breaks a cluster of real processes for a while and says what its clients saw of it. Ends with 1
// when an answer was lost or was another than without faults, and, with --minutes, when a stall was
// longer than it should be; with 77 where this machine has no network of its own to lose packets
// in.

#include <signal.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "tests/chaos/chaos_report.h"
#include "tests/chaos/chaos_run.h"
#include "tests/chaos/own_network.h"

namespace conclave {
namespace {

constexpr int kSkipped = 77;  // what CTest and others take for it

volatile std::sig_atomic_t was_asked_to_stop = 0;

// The first signal ends the run early, with its report; the second the program.
void stop_at_signals() {
  for (const int number : {SIGINT, SIGTERM}) {
    struct sigaction action {};
    action.sa_handler = [](int) { was_asked_to_stop = 1; };
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    sigaction(number, &action, nullptr);
  }
}

struct Flags {
  double minutes = 0;
  double seconds = 0;
  bool as_json = false;
  bool is_quiet = false;
  int32_t threads = 1;
  std::string weights;
  double heartbeat = 0;  // 0: the gateway's own
  double settle_seconds = 1.5;
  std::vector<std::string> faults;
  ChaosOptions options;
};

std::string list_of_faults() {
  std::string list =
      "Which faults; default: all but node-corrupt and packet-*, leg-* only over gRPC:";
  for (const FaultKind& kind : fault_kinds()) {
    absl::StrAppend(&list, "\n  ", kind.name, ": ", kind.what);
  }
  return list;
}

void add_flags(CLI::App* app, Flags* flags) {
  ChaosOptions& options = flags->options;
  app->add_option("--minutes", flags->minutes, "How long; asserts the times as well")
      ->check(CLI::Range(0.01, 10000.0));
  app->add_option("--seconds", flags->seconds, "How long; asserts exactness alone (default 30)")
      ->check(CLI::Range(1.0, 1e6))
      ->excludes("--minutes");
  app->add_option("--seed", options.seed, "Of faults, load and proxy")->capture_default_str();
  app->add_option("--model", options.cluster.model, "Folder of the model")->required();
  app->add_option("--transport", options.cluster.transport, "Of legs")
      ->check(CLI::IsMember({"grpc", "shm"}))
      ->capture_default_str();
  app->add_option("--routing", options.cluster.routing, "Where rows are routed")
      ->check(CLI::IsMember({"local", "gateway"}))
      ->capture_default_str();
  app->add_option("--faults", flags->faults, list_of_faults())->delimiter(',');
  app->add_option("--expert-servers", options.cluster.expert_servers, "Each expert is on two")
      ->check(CLI::Range(2, 16))
      ->capture_default_str();
  app->add_option("--other-bin", options.cluster.other_bin_dir,
                  "Programs of another build, which half of the servers are launched from")
      ->check(CLI::ExistingDirectory);
  app->add_option("--clients", options.clients, "That ask at a time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_option("--tokens", options.most_tokens, "Most ids of a long answer")
      ->check(CLI::Range(20, 100000))
      ->capture_default_str();
  app->add_option("--settle", flags->settle_seconds, "Seconds from a fault's end to the next")
      ->check(CLI::Range(0.0, 60.0))
      ->capture_default_str();
  app->add_option("--heartbeat", flags->heartbeat, "Seconds between heartbeats of servers")
      ->check(CLI::Range(0.05, 60.0));
  app->add_option("--threads", flags->threads, "Of each process")->capture_default_str();
  app->add_option("--prefill-chunk", options.cluster.prefill_chunk,
                  "Most prompt tokens of a step: prompts of others are gaps in a stream, too")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app->add_option("--weights", flags->weights, "Of nodes and expert servers, such as int8");
  app->add_flag("--json", flags->as_json, "Figures as lines of JSON");
  app->add_flag("--quiet", flags->is_quiet, "Do not name faults as they come");
}

int run(Flags flags) {
  ChaosOptions& options = flags.options;
  const auto faults = choose_faults(flags.faults, options.cluster.transport);
  if (!faults.ok()) {
    std::fprintf(stderr, "chaos: %s\n", std::string(faults.status().message()).c_str());
    return EXIT_FAILURE;
  }
  if (needs_own_network(*faults)) {
    const absl::Status entered = enter_own_network();
    if (!entered.ok()) {
      std::fprintf(stderr, "chaos: SKIPPED: %s\n", std::string(entered.message()).c_str());
      return kSkipped;
    }
  }
  options.faults = *faults;
  options.time = flags.minutes > 0   ? absl::Minutes(flags.minutes)
                 : flags.seconds > 0 ? absl::Seconds(flags.seconds)
                                     : absl::Seconds(30);
  options.settle = absl::Seconds(flags.settle_seconds);
  options.cluster.proxied = lines_of(*faults);
  options.cluster.seed = options.seed;
  if (flags.heartbeat > 0) {
    options.cluster.gateway_flags.push_back(absl::StrCat("--heartbeat=", flags.heartbeat));
  }
  options.cluster.threads = flags.threads;
  if (!flags.weights.empty()) {
    options.cluster.all_flags.push_back(absl::StrCat("--weights=", flags.weights));
  }
  if (!flags.is_quiet) {
    options.say = [](const std::string& what) {
      std::fprintf(stderr, "chaos: %s\n", what.c_str());
    };
  }
  stop_at_signals();
  options.give_up = [] { return was_asked_to_stop != 0; };
  const absl::StatusOr<ChaosResult> result = run_chaos(options);
  if (!result.ok()) {
    std::fprintf(stderr, "chaos: %s\n", result.status().ToString().c_str());
    return EXIT_FAILURE;
  }
  const ChaosVerdict verdict = report_chaos(*result, flags.as_json);
  const bool is_good = verdict.is_exact && (verdict.is_in_time || flags.minutes == 0);
  return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  conclave::Flags flags;
  CLI::App app("Breaks a cluster under load and compares every answer with one without faults");
  conclave::add_flags(&app, &flags);
  CLI11_PARSE(app, argc, argv);
  return conclave::run(std::move(flags));
}
