// One expert server between what it was told to hold and what it says it holds.
//
// Words of both sides may be on their way, so the two can be of different times. The view may name
// only what the server holds and is to go on holding by the last order: what it still says it holds
// may be gone already, and what it says it has loaded may have been ordered away again.
#pragma once

#include <cstdint>
#include <utility>

#include "gateway/server_facts.h"
#include "model/weights/expert_set.h"

namespace conclave {

class ServerOrders {
 public:
  // Of none.
  ServerOrders() = default;

  // Of one that has just joined: it was told nothing, and is to keep what it holds.
  explicit ServerOrders(const ExpertSet& held)
      : held_(held), hold_(held), leaving_(held.num_layers(), held.num_experts()) {}

  const ExpertSet& held() const { return held_; }        // as it says
  const ExpertSet& hold() const { return hold_; }        // by the last order, or when it joined
  const ExpertSet& leaving() const { return leaving_; }  // withdrawn, to be released

  // It goes by the last order; until then it gets no other.
  bool is_followed() const { return followed_ == sent_; }

  // The number of the last order.
  int64_t sent() const { return sent_; }

  // What the view says.
  ExpertSet visible() const { return held_.intersect(hold_).minus(leaving_); }

  // Of `all`, what the view must not say, whatever the server comes to hold.
  ExpertSet hidden(const ExpertSet& all) const { return all.minus(hold_.minus(leaving_)); }

  // Nothing is on its way, and it holds what the plan wants.
  bool is_settled(const ExpertSet& target) const {
    return is_followed() && held_ == target && hold_ == target && leaving_.empty();
  }

  // Experts that are to be loaded or released until then. What was ordered away counts as gone, and
  // what was ordered as held: neither can be relied on.
  int64_t num_pending(const ExpertSet& target) const;

  // What it says. Whether it holds something else than before.
  bool heard(const Holding& holding);

  ExpertOrder give(ExpertSet hold);
  void set_leaving(ExpertSet leaving) { leaving_ = std::move(leaving); }

 private:
  ExpertSet held_;
  ExpertSet hold_;
  ExpertSet leaving_;
  int64_t sent_ = 0;
  int64_t followed_ = 0;
};

}  // namespace conclave
