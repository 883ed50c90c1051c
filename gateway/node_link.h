// How the gateway reaches attention nodes: a run is one try of one request on one node.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/ids.h"
#include "model/sampler/sampler.h"
#include "model/sampler/sampling_params.h"

namespace conclave {

// Names a run; never used again.
enum class RunHandle : uint64_t {};

// What a node is asked. `generated` and `forced` are not there together.
struct NodeRequest {
  std::string id;  // the client's, for logs
  std::vector<int32_t> prompt;
  SamplingParams sampling;
  int32_t priority = 0;
  absl::Time deadline = absl::InfiniteFuture();  // on the table's clock
  std::vector<int32_t> generated;                // said before: the node goes on after them
  std::vector<int32_t> forced;
  bool score_only = false;
};

// What a node said since the last batch.
struct RunBatch {
  std::vector<int32_t> ids;
  std::vector<Logprobs> logprobs;
  std::vector<Logprobs> prompt_logprobs;
};

enum class RunEnd : uint8_t { kStopId, kLength };

// Answers come to the table's on_tokens(), on_run_finished() and on_run_failed(), later: neither
// call here may call it back. A run that cannot start fails like one that broke: UNAVAILABLE.
class NodeLink {
 public:
  virtual ~NodeLink() = default;

  virtual void run(ServerId node, RunHandle handle, NodeRequest request) = 0;

  // The run is of no interest any more. What still comes from it is ignored.
  virtual void cancel(RunHandle handle) = 0;
};

}  // namespace conclave
