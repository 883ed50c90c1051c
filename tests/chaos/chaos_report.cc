#include "tests/chaos/chaos_report.h"

#include <array>
#include <cstdio>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/report/report.h"
#include "bench/report/stall.h"

namespace conclave {
namespace {

constexpr size_t kMostComplaints = 50;
constexpr double kShare = 0.99;

std::string seconds_text(double seconds) {
  return seconds < 1 ? absl::StrFormat("%.0f ms", seconds * 1000)
                     : absl::StrFormat("%.2f s", seconds);
}

bool meets_goal(const FaultKind& kind, const StallFigures& figures) {
  if (!kind.goal_seconds || figures.of_faults.empty()) return true;
  const auto& stalls = kind.goal_adds_replay ? figures.beyond_replay : figures.of_faults;
  return percentile(stalls, kShare) <= *kind.goal_seconds;
}

std::string goal_text(const FaultKind& kind, const StallFigures& figures) {
  if (!kind.goal_seconds) return "-";
  std::string text = seconds_text(*kind.goal_seconds);
  if (kind.goal_adds_replay) {
    absl::StrAppend(
        &text, " beyond the replay: ", seconds_text(percentile(figures.beyond_replay, kShare)));
  }
  return text + (meets_goal(kind, figures) ? " met" : " MISSED");
}

void print_row(const FaultKind& kind, const StallFigures& figures) {
  std::printf("%-15s %6d %8d", kind.name.c_str(), static_cast<int>(figures.num_faults),
              static_cast<int>(figures.of_streams.size()));
  if (figures.of_faults.empty()) {
    std::printf("  no stream was open\n");
    return;
  }
  const Spread spread = spread_of(figures.of_faults);
  std::printf("  %9s %9s %9s  %9s  %s\n", seconds_text(spread.median).c_str(),
              seconds_text(percentile(figures.of_faults, kShare)).c_str(),
              seconds_text(spread.highest).c_str(),
              seconds_text(percentile(figures.of_streams, kShare)).c_str(),
              goal_text(kind, figures).c_str());
}

void add_figures(const Report& report, const FaultKind& kind, const StallFigures& figures) {
  const auto single = [&](const std::string& metric, const std::string& unit, double value) {
    report.add({kind.name, metric, unit, spread_of({value})});
  };
  single("faults", "faults", static_cast<double>(figures.num_faults));
  if (figures.of_faults.empty()) return;
  report.add({kind.name, "stall of a fault", "s", spread_of(figures.of_faults)});
  single("stall of a fault, p99", "s", percentile(figures.of_faults, kShare));
  if (kind.goal_adds_replay) {
    single("stall beyond the replay, p99", "s", percentile(figures.beyond_replay, kShare));
  }
  report.add({kind.name, "stall of a stream", "s", spread_of(figures.of_streams)});
  single("stall of a stream, p99", "s", percentile(figures.of_streams, kShare));
}

std::array<int64_t, kNumVerdicts> count_verdicts(const ChaosResult& result) {
  std::array<int64_t, kNumVerdicts> counts{};
  for (const StreamRecord& stream : result.streams) {
    ++counts[static_cast<size_t>(stream.judged.verdict)];
  }
  return counts;
}

void complain(const ChaosResult& result) {
  const std::vector<std::string> all = complaints(result);
  for (size_t i = 0; i < all.size() && i < kMostComplaints; ++i) {
    std::fprintf(stderr, "chaos: %s\n", all[i].c_str());
  }
  if (all.size() > kMostComplaints) {
    std::fprintf(stderr, "chaos: and %zu more\n", all.size() - kMostComplaints);
  }
  if (!result.status.ok()) {
    std::fprintf(stderr, "chaos: %s\n", result.status.ToString().c_str());
  }
}

}  // namespace

ChaosVerdict report_chaos(const ChaosResult& result, bool as_json) {
  ChaosVerdict verdict{.is_exact = result.status.ok()};
  const std::optional<Report> report = as_json ? std::optional<Report>("chaos") : std::nullopt;
  const auto figures_of = stalls_of(result);
  if (!as_json) {
    std::printf("%-15s %6s %8s  %9s %9s %9s  %9s  %s\n", "fault", "faults", "streams", "median",
                "p99", "longest", "streams'", "goal for p99");
  }
  for (const FaultKind& kind : fault_kinds()) {
    const auto figures = figures_of.find(kind.name);
    if (figures == figures_of.end()) continue;
    verdict.is_in_time = verdict.is_in_time && meets_goal(kind, figures->second);
    if (report) add_figures(*report, kind, figures->second);
    if (!report) print_row(kind, figures->second);
    if (!meets_goal(kind, figures->second)) {
      std::fprintf(stderr, "chaos: the longest %s: %s, %s\n", kind.name.c_str(),
                   seconds_text(figures->second.longest).c_str(),
                   figures->second.longest_of.c_str());
    }
  }
  if (report)
    report->add({"requests", "time for an id of a prompt", "s", spread_of({result.prompt_pace})});
  if (!report)
    std::printf("without faults an id of a prompt took %.2f ms under this load\n",
                result.prompt_pace * 1000);
  const std::array<int64_t, kNumVerdicts> counts = count_verdicts(result);
  for (int i = 0; i < kNumVerdicts; ++i) {
    const char* const name = verdict_name(static_cast<Verdict>(i));
    const auto count = static_cast<double>(counts[static_cast<size_t>(i)]);
    if (report) report->add({"requests", name, "requests", spread_of({count})});
    if (!report) std::printf("%s%s %.0f", i == 0 ? "requests: " : ", ", name, count);
    if (i > 0 && count > 0) verdict.is_exact = false;
  }
  if (!report) std::printf("; bits flipped on lines: %d\n", static_cast<int>(result.num_flipped));
  complain(result);
  return verdict;
}

}  // namespace conclave
