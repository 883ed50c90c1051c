// A request while it lives in the engine. Owned by the engine, changed by the step thread alone.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "attention/latent_cache.h"
#include "attention/request.h"

namespace conclave {

struct Sequence {
  Request request;
  uint64_t arrival = 0;      // order of submission
  std::vector<int32_t> ids;  // prompt, then generated
  PageTable table;
  int32_t num_computed = 0;  // ids whose rows are in the cache; 0 again after preemption
  int32_t num_said = 0;      // positions whose logits were delivered, for wants_logits
  std::vector<Logprobs> prompt_logprobs;  // gathered while the prompt is computed
  bool prompt_said = false;               // they were delivered
  TokenCounts counts;                     // for the penalties
  std::optional<Finish> finish;           // set when it is over; the engine then lets it go
  bool stalled = false;                   // not scheduled until the engine tries again

  int32_t num_prompt() const { return static_cast<int32_t>(request.prompt.size()); }
  int32_t num_generated() const { return static_cast<int32_t>(ids.size()) - num_prompt(); }
  int32_t num_ids() const { return static_cast<int32_t>(ids.size()); }

  // One id is to be computed and its logits give the next: the sequence is decoding.
  bool decodes() const { return num_computed + 1 == num_ids() && num_generated() > 0; }
};

}  // namespace conclave
