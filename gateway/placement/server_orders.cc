#include "gateway/placement/server_orders.h"

namespace conclave {

int64_t ServerOrders::num_pending(const ExpertSet& target) const {
  ExpertSet either = held_;
  either.insert_all(hold_);
  return target.minus(held_.intersect(hold_)).size() + either.minus(target).size();
}

bool ServerOrders::heard(const Holding& holding) {
  followed_ = holding.order;
  if (held_ == holding.held) return false;
  held_ = holding.held;
  return true;
}

ExpertOrder ServerOrders::give(ExpertSet hold) {
  hold_ = std::move(hold);
  return {.order = ++sent_, .hold = hold_};
}

}  // namespace conclave
