#include "tests/simulation/sim_counts.h"

namespace conclave {
namespace {

constexpr CountName kNames[] = {
    {"answers", &SimCounts::num_answers},
    {"ids", &SimCounts::num_ids},
    {"refusals", &SimCounts::num_refusals},
    {"runs", &SimCounts::num_runs},
    {"replays", &SimCounts::num_replays},
    {"turned away", &SimCounts::num_turned_away},
    {"deadlines", &SimCounts::num_deadlines},
    {"cancels", &SimCounts::num_cancels},
    {"steps", &SimCounts::num_steps},
    {"halved steps", &SimCounts::num_halved_steps},
    {"preemptions", &SimCounts::num_preemptions},
    {"stalls", &SimCounts::num_stalls},
    {"moved legs", &SimCounts::num_moves},
    {"hedged legs", &SimCounts::num_hedges},
    {"late answers", &SimCounts::num_late_answers},
    {"legs for moved experts", &SimCounts::num_not_found},
    {"legs to full servers", &SimCounts::num_full_servers},
    {"kills in mid-step", &SimCounts::num_mid_step_kills},
    {"expulsions", &SimCounts::num_expulsions},
    {"orders", &SimCounts::num_orders},
    {"loads", &SimCounts::num_loads},
    {"releases", &SimCounts::num_releases},
};

}  // namespace

std::span<const CountName> count_names() { return kNames; }

void SimCounts::add(const SimCounts& other) {
  for (const CountName& name : kNames) this->*name.count += other.*name.count;
}

}  // namespace conclave
