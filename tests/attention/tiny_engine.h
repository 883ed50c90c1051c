// A whole engine around tests/golden/deepseek_v3 with pages of eight tokens, whose experts can be
// told to fail, and a listener that keeps everything a request is told.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attention/engine.h"
#include "common/thread_pool.h"
#include "router/expert_layer.h"
#include "services/local/local_expert_server.h"
#include "services/local/model_folder.h"

namespace conclave {

// Something that the walk asks for, told before it is done.
struct WalkEvent {
  std::string what;  // "attend", "begin" or "finish"
  int32_t layer_idx = 0;
  int32_t num_rows = 0;
};
using TellEvent = std::function<void(const WalkEvent&)>;

// Tells, and attends as the form behind it.
class TellingAttention final : public AttentionForm {
 public:
  explicit TellingAttention(AttentionForm* form) : form_(form) {}

  TellEvent tell;

  void begin_step(const Step& step) override { form_->begin_step(step); }
  void forward(const Args& args) override;

 private:
  AttentionForm* const form_;  // outlives this
};

// Stands before the experts and does to one step what it was told.
class UnreliableMoe final : public MoeLayer {
 public:
  explicit UnreliableMoe(MoeLayer* moe) : moe_(moe) {}

  // Of the next layers that run; reset by the test.
  absl::Status begin_status;
  absl::Status finish_status;
  std::optional<RowFault> fault;
  std::function<std::optional<RowFault>(int32_t layer_idx)> fault_of;
  TellEvent tell;
  int32_t num_finished = 0;

  std::unique_ptr<MoeStep> new_step() override { return moe_->new_step(); }
  absl::Status begin(int32_t layer_idx, Rows<const float> x, MoeStep* step) override;
  absl::Status finish(MoeStep* step, Rows<float> out) override;

 private:
  MoeLayer* const moe_;  // outlives this
};

class TinyEngine {
 public:
  struct Options {
    int32_t num_pages = 64;
    int32_t step_tokens = 64;
    int32_t prefill_chunk = 64;
    int32_t max_running = 8;
    int32_t max_requests = 64;
    int32_t max_logit_rows = 32;
    Overlap overlap = Overlap::kOff;
    const Clock* clock = nullptr;  // the walk's; null: the machine's
    int32_t num_ids = 0;           // 0: the whole vocabulary
  };

  static constexpr int32_t kPageTokens = 8;

  explicit TinyEngine(const Options& options);

  Engine* operator->() { return engine_.get(); }
  const ModelConfig& config() const;
  UnreliableMoe& moe() { return *unreliable_; }

  // Called for all that the walk does from now on.
  void when(const TellEvent& tell);

  // Steps until nothing is left to do, then expects every page at home.
  void run_to_end();

 private:
  ThreadPool threads_{2};
  LoopbackTransport transport_;
  const SystemClock clock_;
  std::unique_ptr<LatentCache> cache_;
  std::unique_ptr<AttentionForm> attention_;
  std::unique_ptr<TellingAttention> telling_;
  std::unique_ptr<ExpertLayer> experts_;
  std::unique_ptr<UnreliableMoe> unreliable_;
  std::unique_ptr<LayerWalk> walk_;
  std::unique_ptr<Engine> engine_;
};

// Keeps what it hears, and fails the test when it hears something out of order.
class Listener final : public RequestObserver {
 public:
  std::vector<int32_t> ids;
  std::vector<Logprobs> logprobs;
  std::vector<int32_t> positions;  // of the rows of logits
  std::vector<float> logits;
  std::vector<std::vector<Logprobs>> prompt_logprobs;  // one entry a call
  std::optional<Finish> finish;

  // Called after the event was kept.
  std::function<void()> when_logits = [] {};
  std::function<void()> when_prompt = [] {};
  std::function<void()> when_token = [] {};
  std::function<void()> when_finished = [] {};

  void on_prompt_logprobs(std::vector<Logprobs> said) override;
  void on_logits(int32_t position, std::span<const float> row) override;
  void on_token(const GeneratedToken& token) override;
  void on_finished(const Finish& said) override;
};

// `length` ids that depend on the seed.
std::vector<int32_t> some_ids(int32_t length, uint32_t seed);

// Greedy, no stop ids.
Request greedy_request(uint64_t id, std::vector<int32_t> prompt, int32_t max_tokens,
                       Listener* listener);

// The first `count` ids that the model says greedily.
std::vector<int32_t> greedy_ids(const std::vector<int32_t>& prompt, int32_t count);

}  // namespace conclave
