// What every decoder family says in the same words: sizes, norms, token ids, quantisation.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "model/config/json_reader.h"
#include "model/config/model_config.h"

namespace conclave {

// Of the family's published class, for fields that a config.json may leave out.
struct DecoderDefaults {
  int32_t max_positions = 0;
  int32_t bos_id = -1;  // -1: none
  int32_t end_id = -1;
};

// Fills `config` but for mla and moe. Also refuses fields that change the mathematics in ways that
// no family here implements.
absl::Status read_decoder(const JsonReader& json, const DecoderDefaults& defaults,
                          ModelConfig* config);

}  // namespace conclave
