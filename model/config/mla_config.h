// The fields of multi-head latent attention. Source: docs/models.md.
#pragma once

#include "absl/status/status.h"
#include "model/config/json_reader.h"
#include "model/config/model_config.h"

namespace conclave {

absl::Status read_mla(const JsonReader& json, MlaConfig* mla);

}  // namespace conclave
