// out[t, f] = silu(gate[t, f]) * up[t, f]       silu(z) = z / (1 + exp(-z))        all f32 [T, F]
//
// out may be gate or up.
#pragma once

#include "common/rows.h"

namespace conclave {

struct SwigluArgs {
  Rows<const float> gate;
  Rows<const float> up;
  Rows<float> out;
};

void swiglu(const SwigluArgs& args);

}  // namespace conclave
