#include "router/arrived_leg.h"

namespace conclave {

LegRequest ArrivedLeg::view(ServerId server) const {
  return {.server = server,
          .layer_idx = layer_idx,
          .placement_version = placement_version,
          .pick_begin = pick_begin,
          .pick_expert = pick_expert,
          .row_type = hidden.dtype,
          .num_cols = hidden.num_cols,
          .rows = hidden.bytes,
          .reply_type = reply_type};
}

}  // namespace conclave
