#include "tests/simulation/sim_model.h"

#include <utility>

#include "attention/attention_form.h"
#include "attention/engine.h"
#include "common/check.h"
#include "experts/expert_batcher.h"
#include "router/expert_layer.h"
#include "router/transport_loopback.h"

namespace conclave {
namespace {

constexpr int32_t kHidden = 16;  // D
constexpr int32_t kExpertDim = 8;

// All experts behind the loopback.
class AllExperts final : public LoopbackServer {
 public:
  explicit AllExperts(const SimModel& model)
      : weights_(model.experts(ExpertSet::all(model.config()))),
        engine_(model.config(), &weights_, inline_executor()),
        batcher_(&model.config(), &weights_, &engine_, {}) {}

  void submit(const LegRequest& request, LegReply* reply) override {
    batcher_.submit({.layer_idx = request.layer_idx,
                     .pick_begin = request.pick_begin,
                     .pick_expert = request.pick_expert,
                     .row_type = request.row_type,
                     .num_cols = request.num_cols,
                     .rows = request.rows,
                     .reply_type = request.reply_type,
                     .done = [reply, kept = request.rows](absl::StatusOr<SharedBytes> said) {
                       CHECK(said.ok());
                       *reply = {.done = true, .rows = *std::move(said), .via = "loopback"};
                     }});
  }

  bool run() override {
    bool ran = false;
    while (batcher_.run_once()) ran = true;
    return ran;
  }

 private:
  const HeldExperts weights_;
  ExpertEngine engine_;
  ExpertBatcher batcher_;
};

class Keeper final : public RequestObserver {
 public:
  explicit Keeper(SimAnswer* answer) : answer_(answer) {}

  void on_prompt_logprobs(std::vector<Logprobs> logprobs) override {
    answer_->prompt_logprobs = std::move(logprobs);
  }
  void on_token(const GeneratedToken& token) override {
    answer_->ids.push_back(token.id);
    if (token.logprobs) answer_->logprobs.push_back(*token.logprobs);
  }
  void on_finished(const Finish& finish) override {
    CHECK(finish.status.ok());
    answer_->reason = finish.reason;
  }

 private:
  SimAnswer* const answer_;
};

}  // namespace

SimModel::SimModel() {
  config_ = {.num_layers = kSimLayers,
             .hidden_dim = kHidden,
             .vocab_size = kSimVocab,
             .dense_dim = 24,
             .max_positions = kSimPositions,
             .rms_norm_eps = 1e-6f};
  config_.mla = {.num_heads = 2,
                 .kv_lora_rank = 8,
                 .qk_nope_head_dim = 4,
                 .qk_rope_head_dim = 4,
                 .v_head_dim = 4,
                 .softmax_scale = 0.35f,
                 .rope = {.num_dims = 4}};
  config_.moe.gate = {.method = GateMethod::kSigmoidNoAuxTc,
                      .num_experts = kSimExperts,
                      .experts_per_token = 3,
                      .num_groups = 2,
                      .groups_per_token = 2,
                      .normalize = true,
                      .scale = 1.5f};
  config_.moe.expert_dim = kExpertDim;
  config_.moe.shared_expert_dim = kExpertDim;
  config_.moe.first_moe_layer = 1;

  trunk_.embedding = weight(kSimVocab, kHidden);
  for (int32_t l = 0; l < kSimLayers; ++l) trunk_.layers.push_back(layer(config_.is_moe_layer(l)));
  trunk_.final_norm = vector(kHidden, 1.f, 0.2f);
  trunk_.head = weight(kSimVocab, kHidden);
  all_experts_.layers.resize(kSimLayers);
  for (int32_t l = 1; l < kSimLayers; ++l) {
    for (int32_t e = 0; e < kSimExperts; ++e) {
      all_experts_.layers[l].push_back(
          std::make_shared<RoutedExpert>(RoutedExpert{.ffn = ffn(kExpertDim)}));
    }
  }
}

const float* SimModel::vector(int32_t size, float middle, float spread) {
  float* const numbers = trunk_.owned.emplace_back(new float[static_cast<size_t>(size)]).get();
  for (int32_t i = 0; i < size; ++i) {
    numbers[i] = middle + spread * (2.f * static_cast<float>(random_.fraction()) - 1.f);
  }
  return numbers;
}

Weight SimModel::weight(int32_t num_rows, int32_t num_cols) {
  return {
      .data = vector(num_rows * num_cols, 0.f, 0.8f), .num_rows = num_rows, .num_cols = num_cols};
}

FfnWeights SimModel::ffn(int32_t width) {
  return {
      .gate = weight(width, kHidden), .up = weight(width, kHidden), .down = weight(kHidden, width)};
}

LayerWeights SimModel::layer(bool is_moe) {
  const MlaConfig& mla = config_.mla;
  LayerWeights layer;
  layer.input_norm = vector(kHidden, 1.f, 0.2f);
  layer.attention.q = weight(mla.num_heads * mla.qk_head_dim(), kHidden);
  layer.attention.kv_a = weight(mla.cache_cols(), kHidden);
  layer.attention.kv_a_norm = vector(mla.kv_lora_rank, 1.f, 0.2f);
  layer.attention.kv_b =
      weight(mla.num_heads * (mla.qk_nope_head_dim + mla.v_head_dim), mla.kv_lora_rank);
  layer.attention.o = weight(kHidden, mla.num_heads * mla.v_head_dim);
  layer.post_attention_norm = vector(kHidden, 1.f, 0.2f);
  layer.is_moe = is_moe;
  layer.ffn = ffn(is_moe ? config_.moe.shared_expert_dim : config_.dense_dim);
  if (is_moe)
    layer.gate = {.weight = weight(kSimExperts, kHidden), .bias = vector(kSimExperts, 0.f, 0.1f)};
  return layer;
}

ExpertWeights SimModel::experts(const ExpertSet& held) const {
  ExpertWeights weights;
  weights.layers.resize(kSimLayers);
  for (int32_t l = 1; l < kSimLayers; ++l) {
    weights.layers[l].resize(kSimExperts);
    for (int32_t e = 0; e < kSimExperts; ++e) {
      if (held.contains(l, e)) weights.layers[l][e] = all_experts_.layers[l][e];
    }
  }
  return weights;
}

NumericProfile SimModel::profile(bool is_node) const {
  NumericProfile profile{.weights = "0123456789abcdef0123456789abcdef",
                         .weight_type = "stored",
                         .kernel_version = kKernelVersion,
                         .instructions = "simulated"};
  if (!is_node) return profile;
  profile.trunk_type = "stored";
  profile.wire_out = profile.wire_back = profile.cache_type = "bf16";
  profile.attention_form = "absorbed";
  return profile;
}

const SimModel& sim_model() {
  static const SimModel* const model = new SimModel();  // never freed: worlds come and go
  return *model;
}

std::vector<SimAnswer> sim_answers(const std::vector<Request>& requests) {
  constexpr int32_t kStepTokens = 64;
  const SimModel& model = sim_model();
  const ModelConfig& config = model.config();
  AllExperts experts(model);
  LoopbackTransport transport;
  transport.add_server(ServerId{0}, &experts);
  const SystemClock clock;
  const auto num_pages = static_cast<int32_t>(requests.size()) * kSimPositions / kSimPageTokens;
  const auto cache = *LatentCache::create({.num_layers = config.num_layers,
                                           .row_cols = config.mla.cache_cols(),
                                           .page_tokens = kSimPageTokens,
                                           .num_pages = num_pages});
  const auto attention = make_absorbed_mla({.config = &config,
                                            .trunk = &model.trunk(),
                                            .cache = cache.get(),
                                            .executor = inline_executor(),
                                            .max_tokens = kStepTokens});
  const auto layer = *ExpertLayer::create({.config = &config,
                                           .gates = gate_weights(model.trunk()),
                                           .transport = &transport,
                                           .executor = inline_executor(),
                                           .clock = &clock},
                                          Placement::even(config, 1), {.max_tokens = kStepTokens});
  LayerWalk walk({.config = &config,
                  .trunk = &model.trunk(),
                  .attention = attention.get(),
                  .moe = layer.get(),
                  .executor = inline_executor(),
                  .clock = &clock,
                  .overlap = Overlap::kOff,
                  .max_tokens = kStepTokens});
  Engine engine(&config, cache.get(), &walk,
                {.scheduler = {.step_tokens = kStepTokens, .prefill_chunk = kStepTokens},
                 .num_ids = kSimVocab});
  std::vector<SimAnswer> answers(requests.size());
  std::vector<std::unique_ptr<Keeper>> keepers;
  for (size_t i = 0; i < requests.size(); ++i) {
    Request request = requests[i];
    request.id = RequestId{i};
    request.observer = keepers.emplace_back(std::make_unique<Keeper>(&answers[i])).get();
    CHECK(engine.submit(std::move(request)).ok());
  }
  while (engine.step()) {
  }
  CHECK(engine.num_requests() == 0);
  return answers;
}

}  // namespace conclave
