// Fields of config.json that change the mathematics and of which this build implements one value.
//
// Published configs carry dozens of fields that say nothing about the numbers (training, dropout,
// bookkeeping of transformers), so unknown names cannot all be refused. These can, and a tensor
// that an unknown field brings along is refused when weights are checked.
#pragma once

#include "absl/status/status.h"
#include "model/config/json_reader.h"

namespace conclave {

// UNIMPLEMENTED naming the first field that has another value than the implemented one.
absl::Status check_fixed_fields(const JsonReader& json);

}  // namespace conclave
