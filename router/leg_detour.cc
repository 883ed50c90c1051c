#include "router/leg_detour.h"

#include <algorithm>
#include <vector>

#include "router/replica_choice.h"

namespace conclave {
namespace {

// The picks of one leg alone.
TopK picks_of(const Leg& leg, const TopK& top_k) {
  TopK picks{.num_tokens = top_k.num_tokens,
             .k = top_k.k,
             .expert = std::vector<int32_t>(top_k.expert.size(), kNoExpert)};
  for (size_t p = 0; p < leg.pick_slot.size(); ++p) {
    picks.expert[static_cast<size_t>(leg.pick_slot[p])] = leg.pick_expert[p];
  }
  return picks;
}

bool is_open(ServerId server, const DetourRules& rules) {
  if (server == kNoServer || rules.health->is_silent(server)) return false;
  return rules.may_ask_avoided || !rules.health->is_avoided(server);
}

void append_row(const Leg& from, int32_t m, Leg* to) {
  to->token_idx.push_back(from.token_idx[static_cast<size_t>(m)]);
  for (int32_t p = from.pick_begin[m]; p < from.pick_begin[m + 1]; ++p) {
    to->pick_expert.push_back(from.pick_expert[p]);
    to->pick_slot.push_back(from.pick_slot[p]);
  }
  to->pick_begin.push_back(to->num_picks());
}

}  // namespace

LegDetour plan_detour(const Leg& leg, const TopK& top_k, const DetourRules& rules) {
  std::vector<ServerId> lost(rules.lost.begin(), rules.lost.end());
  lost.push_back(leg.server);
  TopK picks = picks_of(leg, top_k);
  const std::vector<ServerId> home =
      choose_replicas(picks, *rules.placement, rules.layer_idx, *rules.health, lost);
  const auto has_way = [&](int32_t expert) {
    return is_open(home[static_cast<size_t>(expert)], rules);
  };
  LegDetour detour{.plan = {}, .rest = {.server = leg.server, .pick_begin = {0}}};
  for (int32_t m = 0; m < leg.num_rows(); ++m) {
    const auto experts =
        std::span(leg.pick_expert)
            .subspan(static_cast<size_t>(leg.pick_begin[m]),
                     static_cast<size_t>(leg.pick_begin[m + 1] - leg.pick_begin[m]));
    if (std::all_of(experts.begin(), experts.end(), has_way)) continue;
    append_row(leg, m, &detour.rest);
  }
  for (const int32_t slot : detour.rest.pick_slot) {
    picks.expert[static_cast<size_t>(slot)] = kNoExpert;
  }
  detour.plan = plan_dispatch(picks, home);
  return detour;
}

}  // namespace conclave
