// One request's record from its submission to its end: what was asked, what was said so far, and
// how to go on from there on another node. It knows nothing of nodes, queues or other requests.
//
// What is promised of the answer, however many runs it takes: each id is said once and in order,
// prompt logprobs are said once, and a stop string cuts at the same id and byte. What nodes send is
// checked here (contract C5).
#pragma once

#include <cstdint>
#include <iterator>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/node_link.h"
#include "gateway/request.h"
#include "gateway/text_stream.h"
#include "model/tokenizer/tokenizer.h"

namespace conclave {

struct ModelLimits {
  int32_t vocab_size = 0;     // V
  int32_t max_positions = 0;  // the context
};

class LiveRequest {
 public:
  // `tokenizer` outlives this, and may be null for requests that need none.
  LiveRequest(GatewayRequest request, const Tokenizer* tokenizer, const ModelLimits& limits);

  const GatewayRequest& request() const { return request_; }
  int32_t num_generated() const { return static_cast<int32_t>(ids_.size()); }
  int64_t num_ids() const { return std::ssize(request_.prompt) + std::ssize(ids_); }

  // What to ask of the next node. What that one says is taken from where the answer stands now.
  NodeRequest begin_run();

  // What the client hears of a batch; empty() where it is nothing new. Ids after a stop string are
  // not said. INTERNAL for a batch that no sound node sends.
  // REQUIRES: !stopped()
  absl::StatusOr<AnswerDelta> take(RunBatch batch);

  // A stop string was found: the answer is over, whatever the node thinks.
  bool stopped() const { return text_ && text_->matched(); }

  // Why the answer is complete although no node said so: it was lost before it could. Nothing where
  // there is more to come.
  std::optional<RunEnd> complete() const;

  // INTERNAL where a run ended with less than it was asked for.
  absl::Status check_end() const;

  // The rest of the text, then how it ended; `end` counts unless a stop string was found.
  AnswerDelta last_delta();
  AnswerFinish finish(RunEnd end) const;

 private:
  int64_t max_ids() const;
  bool owes_prompt_logprobs() const;
  absl::Status check_batch(const RunBatch& batch) const;
  void take_prompt_logprobs(RunBatch* batch, AnswerDelta* delta);
  void take_id(size_t index, RunBatch* batch, AnswerDelta* delta);

  const GatewayRequest request_;
  const ModelLimits limits_;
  std::optional<TextStream> text_;

  std::vector<int32_t> ids_;  // said so far
  size_t num_to_skip_ = 0;    // ids that this run says again
  bool said_prompt_logprobs_ = false;
};

}  // namespace conclave
