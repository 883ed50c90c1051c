// Who is asked what: the plan of one layer's dispatch, as a value. Making it, sending it and
// combining what comes back are separate functions that take it.
//
// Invariants, held by tests/router/dispatch_plan_test.cc:
//   - every pick of the TopK is on exactly one leg, and its slot says which pick it is;
//   - a leg's tokens ascend and a token is on a leg at most once, so its row travels once;
//   - a leg has at most `max_picks` picks, unless one token alone has more.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/ids.h"
#include "common/rows.h"
#include "router/gate.h"

namespace conclave {

// The part of a plan that goes to one server. M rows, N picks, in CSR form.
struct Leg {
  ServerId server{};
  std::vector<int32_t> token_idx;    // [M] ascending
  std::vector<int32_t> pick_begin;   // [M + 1] row m owns picks [pick_begin[m], pick_begin[m + 1])
  std::vector<int32_t> pick_expert;  // [N] ascending within a row
  std::vector<int32_t> pick_slot;    // [N] the pick's place in TopK: t * K + k

  int32_t num_rows() const { return static_cast<int32_t>(token_idx.size()); }
  int32_t num_picks() const { return static_cast<int32_t>(pick_expert.size()); }
};

struct DispatchPlan {
  std::vector<Leg> legs;
};

// Legs are cut here because the way back is up to K times wider than the way out.
inline constexpr int32_t kMaxPicksPerLeg = 1024;

// `home` [E] names one server per expert. Picks of kNoExpert are on no leg.
// REQUIRES: home of every picked expert is a server, not kNoServer
DispatchPlan plan_dispatch(const TopK& top_k, std::span<const ServerId> home,
                           int32_t max_picks = kMaxPicksPerLeg);

// out[t, :] = sum over the picks of token t, in ascending expert id, of weight * said row.
//
// `said[i]` is [N, D], leg i's answer in the order of its picks. A token without picks gets zeros.
void combine(const DispatchPlan& plan, const TopK& top_k, std::span<const Rows<const float>> said,
             Rows<float> out);

}  // namespace conclave
