#include "tests/attention/tiny_engine.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>

namespace conclave {
namespace {

constexpr int32_t kNumShards = 2;

// Loaded once a process and never freed: every test reads the same weights.
struct TinyModel {
  ModelFolder folder;
  TrunkWeights trunk;
  std::vector<std::unique_ptr<LocalExpertServer>> shards;
};

TinyModel* load_tiny_model() {
  auto folder = read_model_folder(std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/deepseek_v3");
  CHECK(folder.ok());
  auto* const model = new TinyModel{.folder = *std::move(folder)};
  const auto no_progress = [](uint64_t, uint64_t) {};
  auto trunk = load_trunk(*model->folder.checkpoint, model->folder.config, no_progress);
  CHECK(trunk.ok());
  model->trunk = *std::move(trunk);
  for (int32_t i = 0; i < kNumShards; ++i) {
    auto shard = LocalExpertServer::load(*model->folder.checkpoint, model->folder.config,
                                         *ExpertSet::shard(model->folder.config, {i, kNumShards}),
                                         inline_executor(), no_progress);
    CHECK(shard.ok());
    model->shards.push_back(*std::move(shard));
  }
  return model;
}

TinyModel& tiny_model() {
  static TinyModel* const model = load_tiny_model();
  return *model;
}

}  // namespace

void TellingAttention::forward(const Args& args) {
  if (tell != nullptr) tell({"attend", args.layer_idx, args.tokens.count});
  form_->forward(args);
}

void TinyEngine::when(const TellEvent& tell) { telling_->tell = unreliable_->tell = tell; }

absl::Status UnreliableMoe::begin(int32_t layer_idx, Rows<const float> x, MoeStep* step) {
  if (tell != nullptr) tell({"begin", layer_idx, x.num_rows});
  if (!begin_status.ok()) return begin_status;
  return moe_->begin(layer_idx, x, step);
}

absl::Status UnreliableMoe::finish(MoeStep* step, Rows<float> out) {
  if (tell != nullptr) tell({"finish", step->layer_idx, out.num_rows});
  const absl::Status status = moe_->finish(step, out);
  ++num_finished;
  if (fault) step->faults.push_back(*fault);
  if (fault_of != nullptr) {
    if (const auto made = fault_of(step->layer_idx)) step->faults.push_back(*made);
  }
  return finish_status.ok() ? status : finish_status;
}

const ModelConfig& TinyEngine::config() const { return tiny_model().folder.config; }

TinyEngine::TinyEngine(const Options& options) {
  TinyModel& model = tiny_model();
  const ModelConfig& config = model.folder.config;
  for (int32_t i = 0; i < kNumShards; ++i) {
    transport_.add_server(ServerId{i}, model.shards[i].get());
  }
  cache_ = *LatentCache::create({.num_layers = config.num_layers,
                                 .row_cols = config.mla.cache_cols(),
                                 .page_tokens = kPageTokens,
                                 .num_pages = options.num_pages});
  attention_ = make_absorbed_mla({.config = &config,
                                  .trunk = &model.trunk,
                                  .cache = cache_.get(),
                                  .executor = &threads_,
                                  .max_tokens = options.step_tokens});
  telling_ = std::make_unique<TellingAttention>(attention_.get());
  experts_ = *ExpertLayer::create({.config = &config,
                                   .gates = gate_weights(model.trunk),
                                   .transport = &transport_,
                                   .executor = &threads_,
                                   .clock = &clock_},
                                  Placement::even(config, kNumShards),
                                  {.max_tokens = options.step_tokens});
  unreliable_ = std::make_unique<UnreliableMoe>(experts_.get());
  walk_ = std::make_unique<LayerWalk>(
      LayerWalk::Parts{.config = &config,
                       .trunk = &model.trunk,
                       .attention = telling_.get(),
                       .moe = unreliable_.get(),
                       .executor = &threads_,
                       .clock = options.clock != nullptr ? options.clock : &clock_,
                       .overlap = options.overlap,
                       .max_tokens = options.step_tokens,
                       .max_logit_rows = options.max_logit_rows});
  engine_ = std::make_unique<Engine>(
      &config, cache_.get(), walk_.get(),
      Engine::Options{.scheduler = {.step_tokens = options.step_tokens,
                                    .prefill_chunk = options.prefill_chunk,
                                    .max_running = options.max_running},
                      .max_requests = options.max_requests,
                      .num_ids = options.num_ids == 0 ? config.vocab_size : options.num_ids});
}

void TinyEngine::run_to_end() {
  for (int i = 0; engine_->step(); ++i) ASSERT_LT(i, 10'000) << "it never ends";
  EXPECT_EQ(engine_->num_requests(), 0);
  EXPECT_EQ(cache_->num_free_pages(), cache_->num_pages());
}

void Listener::on_prompt_logprobs(std::vector<Logprobs> said) {
  EXPECT_FALSE(finish) << "prompt logprobs after the end";
  EXPECT_TRUE(ids.empty()) << "prompt logprobs after a token";
  prompt_logprobs.push_back(std::move(said));
  when_prompt();
}

void Listener::on_logits(int32_t position, std::span<const float> row) {
  EXPECT_FALSE(finish) << "logits after the end";
  positions.push_back(position);
  logits.insert(logits.end(), row.begin(), row.end());
  when_logits();
}

void Listener::on_token(const GeneratedToken& token) {
  EXPECT_FALSE(finish) << "a token after the end";
  ids.push_back(token.id);
  if (token.logprobs) logprobs.push_back(*token.logprobs);
  when_token();
}

void Listener::on_finished(const Finish& said) {
  EXPECT_FALSE(finish) << "it ended twice";
  finish = said;
  when_finished();
}

std::vector<int32_t> some_ids(int32_t length, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < length; ++i) {
    const auto vocab = static_cast<uint32_t>(tiny_model().folder.config.vocab_size);
    ids.push_back(static_cast<int32_t>(rng() % vocab));
  }
  return ids;
}

Request greedy_request(uint64_t id, std::vector<int32_t> prompt, int32_t max_tokens,
                       Listener* listener) {
  Request request{.id = RequestId{id}, .prompt = std::move(prompt), .observer = listener};
  request.sampling.temperature = 0.f;
  request.sampling.max_tokens = max_tokens;
  return request;
}

std::vector<int32_t> greedy_ids(const std::vector<int32_t>& prompt, int32_t count) {
  TinyEngine engine({});
  Listener listener;
  CHECK(engine->submit(greedy_request(0, prompt, count, &listener)).ok());
  engine.run_to_end();
  return listener.ids;
}

}  // namespace conclave
