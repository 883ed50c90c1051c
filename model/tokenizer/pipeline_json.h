// The steps of tokenizer.json that stand around the model: normalizer, post-processor, decoder. Of
// each only the forms are known that byte-level tokenizers use; any other is UNIMPLEMENTED and
// named.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/tokenizer/json_fields.h"

namespace conclave {

// None, or a Sequence of none.
absl::Status check_normalizer(const Json& document, const std::string& where);

// ByteLevel, or a Sequence of only that.
absl::Status check_decoder(const Json& document, const std::string& where);

// None, ByteLevel (no effect on ids), TemplateProcessing of the form "text" or "bos text", or a
// Sequence of these. Returns the id of bos, -1: none.
absl::StatusOr<int32_t> read_post_processor(const Json& document, const std::string& where);

}  // namespace conclave
