#include "router/dispatch_plan.h"

#include <algorithm>
#include <map>

#include "common/check.h"
#include "kernels/vector_ops.h"
#include "router/placement.h"

namespace conclave {
namespace {

// Adds token t's picks on `server` as one more row of `leg`.
void add_row(const TopK& top_k, std::span<const ServerId> home, int32_t t, Leg* leg) {
  leg->token_idx.push_back(t);
  for (int32_t slot = t * top_k.k; slot < (t + 1) * top_k.k; ++slot) {
    const int32_t expert = top_k.expert[slot];
    if (expert == kNoExpert || home[expert] != leg->server) continue;
    leg->pick_expert.push_back(expert);
    leg->pick_slot.push_back(slot);
  }
  leg->pick_begin.push_back(leg->num_picks());
}

struct ServerPicks {
  ServerId server{};
  int32_t num_picks = 0;
};

// The servers that token t needs, each with its number of picks there. There are at most K, so a
// search through them beats a map.
void count_picks(const TopK& top_k, std::span<const ServerId> home, int32_t t,
                 std::vector<ServerPicks>* servers) {
  servers->clear();
  for (int32_t slot = t * top_k.k; slot < (t + 1) * top_k.k; ++slot) {
    const int32_t expert = top_k.expert[slot];
    if (expert == kNoExpert) continue;
    const ServerId server = home[expert];
    CHECK(server != kNoServer);
    const auto found = std::find_if(servers->begin(), servers->end(),
                                    [&](const ServerPicks& s) { return s.server == server; });
    if (found == servers->end()) {
      servers->push_back({server, 1});
    } else {
      ++found->num_picks;
    }
  }
}

}  // namespace

DispatchPlan plan_dispatch(const TopK& top_k, std::span<const ServerId> home, int32_t max_picks) {
  DispatchPlan plan;
  std::map<ServerId, size_t> open_leg;  // the leg of each server that still takes rows
  std::vector<ServerPicks> servers;
  for (int32_t t = 0; t < top_k.num_tokens; ++t) {
    count_picks(top_k, home, t, &servers);
    for (const auto& [server, num_picks] : servers) {
      const auto found = open_leg.find(server);
      const bool fits =
          found != open_leg.end() && plan.legs[found->second].num_picks() + num_picks <= max_picks;
      if (!fits) {
        open_leg[server] = plan.legs.size();
        plan.legs.push_back(Leg{.server = server, .pick_begin = {0}});
      }
      add_row(top_k, home, t, &plan.legs[open_leg[server]]);
    }
  }
  return plan;
}

void combine(const DispatchPlan& plan, const TopK& top_k, std::span<const Rows<const float>> said,
             Rows<float> out) {
  CHECK(said.size() == plan.legs.size());
  CHECK(out.num_rows == top_k.num_tokens);
  std::vector<const float*> row_of_slot(top_k.expert.size(), nullptr);
  for (size_t i = 0; i < plan.legs.size(); ++i) {
    const Leg& leg = plan.legs[i];
    CHECK(said[i].num_rows == leg.num_picks());
    for (int32_t p = 0; p < leg.num_picks(); ++p) {
      const float*& row = row_of_slot[leg.pick_slot[p]];
      CHECK(row == nullptr);  // or two legs answer one pick
      row = said[i].row(p);
    }
  }

  const size_t num_cols = static_cast<size_t>(out.num_cols);
  for (int32_t t = 0; t < top_k.num_tokens; ++t) {
    const std::span<float> sum(out.row(t), num_cols);
    std::fill(sum.begin(), sum.end(), 0.f);
    for (int32_t slot = t * top_k.k; slot < (t + 1) * top_k.k; ++slot) {
      if (top_k.expert[slot] == kNoExpert) continue;
      CHECK(row_of_slot[slot] != nullptr);  // an expert is never skipped in silence
      add_scaled(top_k.weight[slot], {row_of_slot[slot], num_cols}, sum);
    }
  }
}

}  // namespace conclave
