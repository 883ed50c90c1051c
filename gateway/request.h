// What a client asks of the gateway, and how it hears the answer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "model/sampler/sampler.h"
#include "model/sampler/sampling_params.h"

namespace conclave {

// Complete: defaults are filled in, the seed is drawn, stop_ids has the model's end ids, and
// check_client_request() was OK.
struct GatewayRequest {
  std::string id;  // unique among those under way
  std::vector<int32_t> prompt;
  SamplingParams sampling;
  std::vector<std::string> stops;  // texts that end the answer and are cut off
  bool wants_text = true;          // false where there is no tokenizer
  int32_t priority = 0;            // higher goes first; equal ones in order of arrival
  absl::Time deadline = absl::InfiniteFuture();  // on the table's clock

  std::vector<int32_t> forced;  // the first generated ids, given instead of drawn
  bool score_only = false;      // nothing is drawn: ends when prompt and forced ids are computed
};

// Ids that are computed when the request is at its longest.
int64_t longest(const GatewayRequest& request, int32_t max_positions);

// Some more of the answer; at least one field has something.
struct AnswerDelta {
  std::string text;  // whole characters
  std::vector<int32_t> ids;
  std::vector<Logprobs> logprobs;         // one per id, where asked for
  std::vector<Logprobs> prompt_logprobs;  // once, of every prompt id but the first

  bool empty() const { return text.empty() && ids.empty() && prompt_logprobs.empty(); }
};

enum class AnswerEnd : uint8_t {
  kStopId,      // the last id ended the text
  kStopString,  // a stop string was found and cut off
  kLength,      // max_tokens, the context is full, or all was scored
};

struct AnswerFinish {
  AnswerEnd reason = AnswerEnd::kLength;
  std::string stop_string;    // the one that was found
  int32_t num_generated = 0;  // ids of all deltas
};

// Where one client's answer goes. Calls come in this order: on_started, any number of on_delta, one
// of on_finished and on_failed. None of them may call the table back. Outlives its last call, or
// the table's client_gone().
class ClientSink {
 public:
  virtual ~ClientSink() = default;

  virtual void on_started(const GatewayRequest& request) = 0;  // inside submit()
  virtual void on_delta(AnswerDelta delta) = 0;
  virtual void on_finished(const AnswerFinish& finish) = 0;
  virtual void on_failed(const absl::Status& status) = 0;
};

}  // namespace conclave
