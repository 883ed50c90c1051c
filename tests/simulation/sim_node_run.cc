// One run at a simulated attention node: from the gateway's call to its end.

#include <utility>

#include "absl/strings/str_format.h"
#include "tests/simulation/sim_node_state.h"

namespace conclave {
namespace {

// How often an id waits for the next one, as where the line is busy.
constexpr double kBusy = 0.2;

}  // namespace

void SimNode::run(StreamId stream, const NodeRequest& request, RunVoice voice) {
  State* const state = state_.get();
  const RequestId id{state->next_id++};
  Run* const run = (state->runs[id] = std::make_unique<Run>(this, stream, std::move(voice))).get();
  parts_.network->set_on_break(stream, [this, id](const absl::Status&) {
    state_->cancels.push_back(id);
    wake();
  });
  if (parts_.sabotage == Sabotage::kLostRequest && !std::exchange(spoiled_, true)) {
    return parts_.log->say(name(), "sabotage: forgets a request");
  }
  if (static_cast<int32_t>(state->requests.size()) >= options_.real_max_requests) {
    return run->fail(absl::ResourceExhaustedError("too many requests wait to be taken in"));
  }
  state->requests.push_back({.id = id,
                             .prompt = request.prompt,
                             .sampling = request.sampling,
                             .priority = request.priority,
                             .generated = request.generated,
                             .forced = request.forced,
                             .score_only = request.score_only,
                             .observer = run});
  wake();
}

void SimNode::Run::on_prompt_logprobs(std::vector<Logprobs> logprobs) {
  batch_.prompt_logprobs = std::move(logprobs);
}

void SimNode::Run::on_token(const GeneratedToken& token) {
  batch_.ids.push_back(token.id);
  if (token.logprobs) batch_.logprobs.push_back(*token.logprobs);
  if (!node_->random_.chance(kBusy)) say();
}

void SimNode::Run::say() {
  if (node_->state_->dead) return;
  RunBatch batch = std::exchange(batch_, {});
  if (batch.ids.empty() && batch.prompt_logprobs.empty()) return;
  node_->parts_.network->send(stream_, node_->process(),
                              [tokens = voice_.tokens, batch] { tokens(batch); });
}

void SimNode::Run::on_finished(const Finish& finish) {
  if (finish.reason == FinishReason::kCancelled) {
    return fail(absl::CancelledError("the request was cancelled"));
  }
  if (finish.reason == FinishReason::kError) return fail(finish.status);
  say();
  if (node_->state_->dead) return;
  const RunEnd end = finish.reason == FinishReason::kStopId ? RunEnd::kStopId : RunEnd::kLength;
  node_->parts_.network->send(stream_, node_->process(),
                              [finished = voice_.finished, end] { finished(end); });
  node_->parts_.network->close(stream_, node_->process(), absl::OkStatus());
}

void SimNode::Run::fail(const absl::Status& status) {
  say();
  if (node_->state_->dead) return;
  node_->parts_.network->close(stream_, node_->process(), status);
}

}  // namespace conclave
