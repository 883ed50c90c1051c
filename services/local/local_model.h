// The whole cluster in one process: trunk, cache and scheduler here, expert shards behind a
// loopback, the same gate, plan and combine between them as between processes.
//
// One thread drives engine(). Weights, cache and activations are taken in load(); the
// buffers of legs grow to those of the largest step and stay.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "attention/attention_stack.h"
#include "common/clock.h"
#include "common/thread_pool.h"
#include "services/local/local_expert_server.h"
#include "services/local/model_folder.h"

namespace conclave {

class LocalModel {
 public:
  struct Options {
    DType wire = DType::kBF16;   // of rows out: f32, bf16 or fp8; back as reply_type_for() it
    DType cache = DType::kBF16;  // f32 or bf16
    int32_t expert_shards = 1;
    int32_t prefill_chunk = 512;
    int32_t threads = 1;
    bool pin_threads = false;
    int32_t max_running = 64;
    int32_t cache_tokens = 4096;  // rounded up to pages
    // In one process no leg is ever away: halves would only read weights twice.
    Overlap overlap = Overlap::kOff;
    bool overcommit = false;  // load although it exceeds the available memory
  };

  // `say` is told what the model needs and what there is, before anything is loaded.
  // `progress(part, done, total)` in bytes. RESOURCE_EXHAUSTED when it does not fit. `folder`
  // outlives the model.
  struct Listener {
    std::function<void(std::string_view)> say = [](std::string_view) {};
    std::function<void(std::string_view, uint64_t, uint64_t)> progress = [](std::string_view,
                                                                            uint64_t, uint64_t) {};
  };
  static absl::StatusOr<std::unique_ptr<LocalModel>> load(const ModelFolder& folder,
                                                          const Options& options,
                                                          const Listener& listener);

  Engine& engine() { return stack_->engine(); }

 private:
  LocalModel(const ModelFolder& folder, const Options& options,
             std::unique_ptr<ThreadPool> threads);

  absl::Status load_experts(const ModelFolder& folder, const Listener& listener);
  absl::Status build(const ModelFolder& folder);

  const Options options_;
  const ModelConfig config_;
  const std::unique_ptr<ThreadPool> threads_;
  TrunkWeights trunk_;
  std::vector<std::unique_ptr<LocalExpertServer>> shards_;
  LoopbackTransport transport_;
  const SystemClock clock_;
  std::unique_ptr<MoeLayer> moe_;
  std::unique_ptr<AttentionStack> stack_;
};

// The type of rows back where one word names both ways: f32 and bf16 mean themselves, and fp8,
// which nobody answers in, goes with bf16.
DType reply_type_for(DType wire);

// options.cache_tokens as the cache will have it: whole pages.
int64_t rounded_cache_tokens(const LocalModel::Options& options);

// Bytes of weights, cache and activations that `options` will take for this model.
uint64_t bytes_needed(const ModelFolder& folder, const LocalModel::Options& options);

}  // namespace conclave
