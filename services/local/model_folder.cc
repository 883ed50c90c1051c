#include "services/local/model_folder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace conclave {

int32_t ModelFolder::num_drawable_ids() const {
  return tokenizer == nullptr ? config.vocab_size : std::min(tokenizer->size(), config.vocab_size);
}

absl::Status ModelFolder::check_serves_text() const {
  if (tokenizer != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(dir, "/tokenizer.json is missing, so this model takes and gives ids only"));
}

absl::StatusOr<ModelFolder> read_model_folder(const std::string& dir, const WeightTypes& weights) {
  ModelFolder folder{.dir = dir};
  ASSIGN_OR_RETURN(folder.config, read_model_config(dir));
  ASSIGN_OR_RETURN(folder.generation, read_generation_config(dir, folder.config));
  ASSIGN_OR_RETURN(folder.checkpoint, Checkpoint::open(dir));
  ASSIGN_OR_RETURN(folder.size, measure_model(*folder.checkpoint, folder.config, weights));
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::load(dir);
  if (tokenizer.ok()) {
    folder.tokenizer = *std::move(tokenizer);
  } else if (!absl::IsNotFound(tokenizer.status())) {
    return tokenizer.status();
  }
  return folder;
}

}  // namespace conclave
