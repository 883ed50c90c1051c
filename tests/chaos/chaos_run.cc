#include "tests/chaos/chaos_run.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "bench/report/report.h"
#include "bench/report/stall.h"
#include "common/status_macros.h"
#include "tests/cluster/test_cluster.h"

namespace conclave {
namespace {

using Needs = FaultKind::Needs;

constexpr absl::Duration kCountersAge = absl::Milliseconds(600);
constexpr absl::Duration kPatience = absl::Minutes(3);  // of every client

double seconds_between(ChaosClock::time_point a, ChaosClock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

std::string time_text(absl::Time time) {
  return absl::FormatTime("%H:%M:%E3S", time, absl::UTCTimeZone());
}

std::string text_of(const FaultRecord& fault) { return fault.kind->name + " " + fault.victim; }

int64_t num_flipped(ChaosCluster* chaos) {
  int64_t sum = 0;
  for (const ClusterRole role : {ClusterRole::kAttentionNode, ClusterRole::kExpertServer}) {
    for (const int32_t idx : chaos->places(role)) {
      sum += chaos->proxy()->counts(ChaosCluster::line_to(role, idx)).num_flipped;
    }
  }
  return sum;
}

// Counted since the gateway began; up to kCountersAge old.
absl::StatusOr<int64_t> num_replayed(ChaosCluster* chaos) {
  const ChildProcess* const gateway = chaos->cluster()->find(ClusterRole::kGateway, 0);
  const auto values = scrape(gateway->ready()->metrics);
  const auto found = values.find("conclave_replayed_tokens_total");
  if (found == values.end()) return absl::UnavailableError("the gateway does not show its metrics");
  return static_cast<int64_t>(found->second);
}

absl::Status inject_until(absl::Time end, const ChaosOptions& options, ChaosCluster* chaos,
                          ConstantLoad* load, std::vector<FaultRecord>* faults) {
  FaultInjector injector(chaos, options.seed);
  ASSIGN_OR_RETURN(int64_t replayed_before, num_replayed(chaos));
  absl::SleepFor(options.settle);
  while (absl::Now() < end && !options.give_up()) {
    const FaultKind& kind = injector.next(options.faults);
    options.say(kind.name);
    absl::StatusOr<FaultRecord> record = injector.inject(kind);
    if (!record.ok()) {
      return absl::Status(record.status().code(),
                          absl::StrFormat("after %s: %s", kind.name, record.status().message()));
    }
    faults->push_back(*std::move(record));
    if (!load->wait_until_all_go_on(kPatience)) {
      return absl::DeadlineExceededError(absl::StrFormat(
          "after %s a client heard nothing for %s", kind.name, absl::FormatDuration(kPatience)));
    }
    absl::SleepFor(kind.goal_adds_replay ? std::max(options.settle, kCountersAge) : options.settle);
    ASSIGN_OR_RETURN(const int64_t replayed, num_replayed(chaos));
    faults->back().num_replayed = replayed - std::exchange(replayed_before, replayed);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<const FaultKind*>> choose_faults(const std::vector<std::string>& names,
                                                            const std::string& transport) {
  std::vector<const FaultKind*> chosen;
  const auto fits = [&](const FaultKind& kind) {
    return kind.needs != Needs::kLegLines || transport == "grpc";
  };
  for (const std::string& name : names) {
    const FaultKind* const kind = find_fault_kind(name);
    if (kind == nullptr) return absl::InvalidArgumentError("no fault is called " + name);
    if (!fits(*kind)) return absl::InvalidArgumentError(name + " needs --transport grpc");
    chosen.push_back(kind);
  }
  for (const FaultKind& kind : fault_kinds()) {
    if (names.empty() && kind.is_usual && fits(kind)) chosen.push_back(&kind);
  }
  return chosen;
}

ChaosCluster::Lines lines_of(const std::vector<const FaultKind*>& faults) {
  ChaosCluster::Lines lines;
  for (const FaultKind* kind : faults) {
    lines.to_servers |= kind->needs == Needs::kLegLines || kind->needs == Needs::kNodeLines;
    lines.to_control |= kind->needs == Needs::kControlLines;
    lines.of_clients |= kind->needs == Needs::kClientLines;
  }
  return lines;
}

bool needs_own_network(const std::vector<const FaultKind*>& faults) {
  return std::any_of(faults.begin(), faults.end(),
                     [](const FaultKind* kind) { return kind->needs == Needs::kOwnNetwork; });
}

absl::StatusOr<ChaosResult> run_chaos(const ChaosOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ChaosCluster> chaos, ChaosCluster::start(options.cluster));
  options.say("logs in " + chaos->log_dir());
  ASSIGN_OR_RETURN(
      const std::vector<KnownRequest> requests,
      known_requests({.model = options.cluster.model, .most_tokens = options.most_tokens},
                     chaos->address()));
  options.say(absl::StrFormat("%d requests are known", requests.size()));
  ChaosResult result;
  ConstantLoad::Options load_options{
      .address = chaos->client_address(), .clients = options.clients, .seed = options.seed};
  if (options.cluster.proxied.of_clients) {
    load_options.num_resets = [proxy = chaos->proxy()] {
      return proxy->counts(ChaosCluster::kClientLines).num_reset;
    };
  }
  ConstantLoad load(load_options, &requests);
  ASSIGN_OR_RETURN(result.prompt_pace, measure_prompt_pace(requests, chaos->address()));
  result.status =
      inject_until(absl::Now() + options.time, options, chaos.get(), &load, &result.faults);
  result.streams = load.stop();
  if (result.status.ok()) result.status = chaos->wait_until_idle();
  if (options.cluster.proxied.to_servers) result.num_flipped = num_flipped(chaos.get());
  return result;
}

std::map<std::string, StallFigures> stalls_of(const ChaosResult& result) {
  std::map<std::string, StallFigures> figures;
  for (size_t i = 0; i < result.faults.size(); ++i) {
    const FaultRecord& fault = result.faults[i];
    FaultTime time{.fault = fault.begin};
    if (i + 1 < result.faults.size()) time.next_fault = result.faults[i + 1].begin;
    StallFigures& figure = figures[fault.kind->name];
    ++figure.num_faults;
    std::optional<double> longest;
    for (const StreamRecord& stream : result.streams) {
      const bool reads = stream.manner == Manner::kReads && stream.judged.verdict == Verdict::kSame;
      if (!reads || stream.end < fault.begin || stream.begin > fault.begin) continue;
      const std::optional<double> stall = stall_of(stream.ids, time);
      if (!stall) continue;
      figure.of_streams.push_back(*stall);
      longest = std::max(longest.value_or(0), *stall);
    }
    if (!longest) continue;
    figure.of_faults.push_back(*longest);
    const double replay = result.prompt_pace * static_cast<double>(fault.num_replayed);
    figure.beyond_replay.push_back(std::max(0.0, *longest - replay));
    if (*longest < figure.longest) continue;
    figure.longest = *longest;
    figure.longest_of = absl::StrFormat("%s at %s, after %s", fault.victim, time_text(fault.time),
                                        i == 0 ? "nothing" : text_of(result.faults[i - 1]));
  }
  return figures;
}

std::vector<std::string> complaints(const ChaosResult& result) {
  std::vector<std::string> all;
  for (const StreamRecord& stream : result.streams) {
    if (stream.judged.verdict == Verdict::kSame) continue;
    const FaultRecord* last = nullptr;
    for (const FaultRecord& fault : result.faults) {
      if (fault.begin <= stream.end) last = &fault;
    }
    std::string text = absl::StrFormat(
        "request %d (%s): %s after %.2f s and %d ids: %s", stream.request_idx,
        manner_name(stream.manner), verdict_name(stream.judged.verdict),
        seconds_between(stream.begin, stream.end), stream.ids.size(), stream.judged.what);
    if (last != nullptr) {
      text += absl::StrFormat("; %.2f s before: %s", seconds_between(last->begin, stream.end),
                              text_of(*last));
    }
    all.push_back(std::move(text));
  }
  return all;
}

}  // namespace conclave
