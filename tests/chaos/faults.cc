#include "tests/chaos/faults.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "services/server/address.h"
#include "tests/chaos/own_network.h"

namespace conclave {
namespace {

// Control takes a server out that was silent for 3 s, so of attention nodes it finds these out.
constexpr absl::Duration kServerPause = absl::Seconds(2);
constexpr absl::Duration kNodePause = absl::Seconds(4);
constexpr absl::Duration kControlPause = absl::Seconds(5);
constexpr absl::Duration kDrainPatience = absl::Seconds(40);
constexpr int64_t kBytesPerFlip = 50'000;
constexpr double kLostPackets = 0.05;
constexpr absl::Duration kLossTime = absl::Seconds(3);

using Needs = FaultKind::Needs;
using enum ClusterRole;

std::vector<FaultKind> make_kinds() {
  const std::string leg = "the lines to one expert server ";
  const std::string node = "the gateway's line to one attention node ";
  const std::string control = "the line of one server to the gateway ";
  const std::string clients = "the lines of all clients ";
  return {
      {"none", "nothing at all, for comparison", Needs::kProcesses, {}},
      {"expert-kill", "kill -9 of an expert server", Needs::kProcesses, 0.25},
      {"expert-stop", "SIGSTOP of an expert server for 2 s", Needs::kProcesses, 1.0},
      {"node-kill", "kill -9 of an attention node", Needs::kProcesses, 1.0, /*is_usual=*/true,
       /*goal_adds_replay=*/true},
      {"node-stop", "SIGSTOP of an attention node for 4 s", Needs::kProcesses, 1.0},
      {"pair-kill", "kill -9 of an expert server and an attention node at once", Needs::kProcesses,
       1.0, /*is_usual=*/true, /*goal_adds_replay=*/true},
      {"experts-kill",
       "kill -9 of two expert servers at once: some experts have no holder",
       Needs::kProcesses,
       {}},
      {"gateway-stop", "SIGSTOP of the gateway for 2 s", Needs::kProcesses, {}},
      {"rolling", "SIGTERM and a new start, one server after the other", Needs::kProcesses, {}},
      {"scale", "expert servers to 2, 5, 2 and back", Needs::kProcesses, {}},
      {"leg-reset", leg + "are reset", Needs::kLegLines, {}},
      {"leg-delay", leg + "take 5 to 15 ms longer for 2 s", Needs::kLegLines, {}},
      {"leg-stall", leg + "stand still for 2 s", Needs::kLegLines, 1.0},
      {"leg-half-open", leg + "are silent one way for 2 s", Needs::kLegLines, 1.0},
      {"leg-partition", leg + "are cut for 2 s", Needs::kLegLines, 1.0},
      {"leg-corrupt", leg + "flip a bit in 50 kB for 2 s", Needs::kLegLines, {}},
      {"node-reset", node + "is reset", Needs::kNodeLines, {}},
      {"node-delay", node + "takes 5 to 15 ms longer for 4 s", Needs::kNodeLines, {}},
      {"node-stall", node + "stands still for 4 s", Needs::kNodeLines, 1.0},
      {"node-half-open", node + "is silent one way for 4 s", Needs::kNodeLines, 1.0},
      {"node-partition", node + "is cut for 4 s", Needs::kNodeLines, 1.0},
      {"node-corrupt",
       node + "flips a bit in 50 kB for 4 s: no checksum",
       Needs::kNodeLines,
       {},
       /*is_usual=*/false},
      {"control-reset", control + "is reset", Needs::kControlLines, {}},
      {"control-stall", control + "stands still for 5 s", Needs::kControlLines, {}},
      {"control-half-open", control + "is silent one way for 5 s", Needs::kControlLines, {}},
      {"control-partition", control + "is cut for 5 s", Needs::kControlLines, {}},
      {"client-reset", "the lines of all clients are reset", Needs::kClientLines, {}},
      {"client-delay", clients + "take 5 to 15 ms longer for 2 s", Needs::kClientLines, {}},
      {"client-stall", clients + "stand still for 2 s", Needs::kClientLines, {}},
      {"packet-loss",
       "one in twenty packets of all lines is lost for 3 s",
       Needs::kOwnNetwork,
       {},
       /*is_usual=*/false},
      {"packet-partition", "no packet reaches or leaves an expert server's port for 2 s",
       Needs::kOwnNetwork, 1.0, /*is_usual=*/false},
  };
}

}  // namespace

const std::vector<FaultKind>& fault_kinds() {
  static const auto* const kKinds = new std::vector<FaultKind>(make_kinds());
  return *kKinds;
}

const FaultKind* find_fault_kind(const std::string& name) {
  for (const FaultKind& kind : fault_kinds()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

FaultInjector::FaultInjector(ChaosCluster* chaos, uint64_t seed) : chaos_(chaos), random_(seed) {}

const FaultKind& FaultInjector::next(const std::vector<const FaultKind*>& kinds) {
  CHECK(!kinds.empty());
  if (round_.empty()) {
    round_ = kinds;
    std::shuffle(round_.begin(), round_.end(), random_);
  }
  const FaultKind* const kind = round_.back();
  round_.pop_back();
  return *kind;
}

absl::StatusOr<FaultRecord> FaultInjector::inject(const FaultKind& kind) {
  FaultRecord record{.kind = &kind, .time = absl::Now(), .begin = ChaosClock::now()};
  RETURN_IF_ERROR(perform(kind, &record));
  RETURN_IF_ERROR(chaos_->wait_until_whole());
  const std::string problem = chaos_->problem();
  if (!problem.empty()) return absl::InternalError(problem);
  record.end = ChaosClock::now();
  return record;
}

absl::Status FaultInjector::perform(const FaultKind& kind, FaultRecord* record) {
  if (kind.name == "rolling") return roll();
  if (kind.name == "scale") return scale();
  if (kind.name == "pair-kill") return kill({any(kExpertServer), any(kAttentionNode)});
  if (kind.name == "experts-kill") {
    const Victim first = any(kExpertServer);
    return kill({first, other_than(first)});
  }
  if (kind.name == "gateway-stop") return stop_for({.role = kGateway, .idx = 0}, kServerPause);
  if (kind.name == "none") {
    absl::SleepFor(kServerPause);
    return absl::OkStatus();
  }
  const std::string how = kind.name.substr(kind.name.find('-') + 1);
  if (kind.needs == Needs::kClientLines) {
    return break_line(ChaosCluster::kClientLines, how, kServerPause);
  }
  if (kind.needs == Needs::kControlLines) {
    const Victim victim = any(random_() % 2 == 0 ? kAttentionNode : kExpertServer);
    record->victim = ChaosCluster::line_to(victim.role, victim.idx);
    return break_line(ChaosCluster::control_line_of(victim.role, victim.idx), how, kControlPause);
  }
  const bool is_node = kind.name.rfind("node-", 0) == 0;
  const ClusterRole role = is_node ? kAttentionNode : kExpertServer;
  const Victim victim = any(role);
  record->victim = ChaosCluster::line_to(victim.role, victim.idx);
  const absl::Duration pause = is_node ? kNodePause : kServerPause;
  if (kind.needs == Needs::kOwnNetwork) return drop_packets(victim, how);
  if (kind.needs != Needs::kProcesses) return break_line(record->victim, how, pause);
  if (how == "kill") return kill({victim});
  CHECK(how == "stop");
  return stop_for(victim, pause);
}

FaultInjector::Victim FaultInjector::any(ClusterRole role) {
  const std::vector<int32_t> places = chaos_->places(role);
  return {.role = role, .idx = places[random_() % places.size()]};
}

FaultInjector::Victim FaultInjector::other_than(const Victim& victim) {
  CHECK(chaos_->places(victim.role).size() > 1);
  while (true) {
    const Victim other = any(victim.role);
    if (other.idx != victim.idx) return other;
  }
}

// All are dead before any is started again.
absl::Status FaultInjector::kill(const std::vector<Victim>& victims) {
  for (const Victim& victim : victims) {
    chaos_->cluster()->find(victim.role, victim.idx)->signal(SIGKILL);
  }
  for (const Victim& victim : victims) {
    chaos_->cluster()->find(victim.role, victim.idx)->wait(absl::InfiniteDuration());
  }
  for (const Victim& victim : victims) {
    RETURN_IF_ERROR(chaos_->cluster()->launch(victim.role, victim.idx));
  }
  return absl::OkStatus();
}

absl::Status FaultInjector::stop_for(const Victim& victim, absl::Duration time) {
  ChildProcess* const child = chaos_->cluster()->find(victim.role, victim.idx);
  child->signal(SIGSTOP);
  absl::SleepFor(time);
  child->signal(SIGCONT);
  return absl::OkStatus();
}

absl::Status FaultInjector::drop_packets(const Victim& victim, const std::string& how) {
  const bool is_partition = how == "partition";
  PacketDrop drop{.share = kLostPackets};
  if (is_partition) {
    const ChildProcess* const child = chaos_->cluster()->find(victim.role, victim.idx);
    ASSIGN_OR_RETURN(const HostPort address, parse_host_port(child->ready()->address));
    drop = {.share = 1, .port = address.port};
  }
  RETURN_IF_ERROR(begin_dropping(drop));
  absl::SleepFor(is_partition ? kServerPause : kLossTime);
  return stop_dropping();
}

absl::Status FaultInjector::break_line(const std::string& line, const std::string& how,
                                       absl::Duration time) {
  FaultProxy* const proxy = chaos_->proxy();
  CHECK(proxy != nullptr);
  if (how == "reset") {
    proxy->reset(line);
    return absl::OkStatus();
  }
  WireFault fault{.delay = absl::Milliseconds(5),
                  .jitter = absl::Milliseconds(10),
                  .silent = random_() % 2 == 0 ? Direction::kToClient : Direction::kToServer,
                  .flip_every = kBytesPerFlip};
  using Kind = WireFault::Kind;
  const std::pair<const char*, Kind> kinds[] = {{"delay", Kind::kDelay},
                                                {"stall", Kind::kStall},
                                                {"half-open", Kind::kHalfOpen},
                                                {"partition", Kind::kPartition},
                                                {"corrupt", Kind::kCorrupt}};
  for (const auto& [name, kind] : kinds) {
    if (how == name) fault.kind = kind;
  }
  CHECK(fault.kind != Kind::kNone);
  proxy->set_fault(line, fault);
  absl::SleepFor(time);
  proxy->set_fault(line, {});
  return absl::OkStatus();
}

absl::Status FaultInjector::roll() {
  for (const ClusterRole role : {kExpertServer, kAttentionNode}) {
    for (const int32_t idx : chaos_->places(role)) {
      ChildProcess* const child = chaos_->cluster()->find(role, idx);
      child->signal(SIGTERM);
      const std::optional<ExitState> exit = child->wait(kDrainPatience);
      if (!exit || !exit->clean()) {
        return absl::InternalError(absl::StrCat(ChaosCluster::line_to(role, idx), " ended with ",
                                                exit ? exit->to_string() : "nothing in time",
                                                " after SIGTERM"));
      }
      RETURN_IF_ERROR(chaos_->cluster()->launch(role, idx));
      RETURN_IF_ERROR(chaos_->wait_until_whole());
    }
  }
  return absl::OkStatus();
}

absl::Status FaultInjector::scale() {
  const auto before = static_cast<int32_t>(chaos_->places(kExpertServer).size());
  for (const int32_t count : {2, 5, 2}) RETURN_IF_ERROR(chaos_->resize(count));
  return before == 2 ? absl::OkStatus() : chaos_->resize(before);
}

}  // namespace conclave
