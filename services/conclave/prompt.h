// The prompt as ids, from whichever flag gave it, and plain helpers for files and id lists.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/conclave/flags.h"
#include "services/local/model_folder.h"

namespace conclave {

// INVALID_ARGUMENT for an empty prompt, for text that is not UTF-8 or has a NUL, and for a list
// that is not ids; FAILED_PRECONDITION for text without a tokenizer.
absl::StatusOr<std::vector<int32_t>> prompt_ids(const PromptFlags& flags,
                                                const ModelFolder& folder);

// The text of --prompt or --prompt-file; INVALID_ARGUMENT for one that is empty or has a NUL.
// REQUIRES: flags.ids is not set
absl::StatusOr<std::string> prompt_text(const PromptFlags& flags);

// "1,2,3" with optional blanks. `flag` names the culprit in messages.
absl::StatusOr<std::vector<int32_t>> parse_ids(std::string_view text, std::string_view flag);
std::string join_ids(std::span<const int32_t> ids);

// "-" is stdin. RESOURCE_EXHAUSTED above 64 MiB.
absl::StatusOr<std::string> read_text_file(const std::string& path);

}  // namespace conclave
