// What one incarnation of a simulated attention node consists of; for sim_node.cc and
// sim_node_run.cc alone.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "attention/attention_form.h"
#include "attention/layer_walk.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_node.h"

namespace conclave {

// Attention that takes time.
class SimNode::TimedAttention final : public AttentionForm {
 public:
  TimedAttention(std::unique_ptr<AttentionForm> form, SimNode* node)
      : form_(std::move(form)), node_(node) {}

  void begin_step(const Step& step) override { form_->begin_step(step); }
  void forward(const Args& args) override {
    node_->sleep(node_->options_.pace * (1 + args.tokens.count / 16.0));
    form_->forward(args);
  }

 private:
  const std::unique_ptr<AttentionForm> form_;
  SimNode* const node_;
};

// One request at the node: hears the engine, speaks on the gateway's stream.
class SimNode::Run final : public RequestObserver {
 public:
  Run(SimNode* node, StreamId stream, RunVoice voice)
      : node_(node), stream_(stream), voice_(std::move(voice)) {}

  void on_prompt_logprobs(std::vector<Logprobs> logprobs) override;
  void on_token(const GeneratedToken& token) override;
  void on_finished(const Finish& finish) override;

  // Ends the stream without an answer.
  void fail(const absl::Status& status);

 private:
  void say();

  SimNode* const node_;
  const StreamId stream_;
  const RunVoice voice_;
  RunBatch batch_;  // that waits for a write, as messages do on a busy line
};

struct SimNode::State final : private LegObserver {
  explicit State(SimNode* node);

  void use_view(const ClusterView& view);

  void on_leg(const LegReport&) override {}
  void on_move(std::string_view) override { ++counts->num_moves; }
  void on_hedge(std::string_view, HedgeOutcome) override { ++counts->num_hedges; }

  SimCounts* const counts;
  NewestMembers members;
  SimTransport transport;
  std::unique_ptr<LatentCache> cache;
  std::unique_ptr<TimedAttention> attention;
  std::unique_ptr<ExpertLayer> experts;
  std::unique_ptr<LayerWalk> walk;
  std::map<RequestId, std::unique_ptr<Run>> runs;
  uint64_t next_id = 0;
  std::unique_ptr<Engine> engine;

  // The mailbox.
  std::deque<Request> requests;
  std::vector<RequestId> cancels;
  std::optional<ClusterView> view;

  int64_t placement_version = 0;
  int64_t num_stalls_seen = 0;
  absl::Duration retry_pause;
  absl::Time next_retry = absl::InfiniteFuture();
  NodeLoad load;     // as of the last step
  PageTable leaked;  // sabotage

  bool dead = false;
  bool in_step = false;
  bool is_blocked = false;
  uint64_t num_blocks = 0;  // so that the timer of an earlier block does nothing
  std::unique_ptr<SimControlClient> client;
  std::unique_ptr<SimTask> task;
};

}  // namespace conclave
