// The pre_tokenizer of a tokenizer.json: a Sequence of Split, Digits and, at the end, ByteLevel.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/tokenizer/json_fields.h"
#include "model/tokenizer/pre_tokenizer.h"

namespace conclave {

// `document` is the whole file. UNIMPLEMENTED names what is unknown.
absl::StatusOr<PreTokenizerSteps> read_pre_tokenizer(const Json& document,
                                                     const std::string& where);

}  // namespace conclave
