// The fields of multi-head latent attention. Source: spec/checkpoint.md §2 and §7, spec/mla.md.
#pragma once

#include "absl/status/status.h"
#include "model/config/json_reader.h"
#include "model/config/model_config.h"

namespace conclave {

absl::Status read_mla(const JsonReader& json, MlaConfig* mla);

}  // namespace conclave
