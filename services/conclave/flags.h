// Flags that several sub-commands share: how the engine runs, how ids are drawn, what the prompt
// is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "model/config/read_config.h"
#include "model/sampler/sampling_params.h"
#include "proto/inference.pb.h"
#include "services/local/local_model.h"
#include "services/server/weights_flag.h"

namespace conclave {

// For options whose empty value CLI11 would read as "not given", or as 0.
CLI::Validator not_empty();

// --model, or DIR where it stands alone.
void add_model_option(CLI::App* app, const std::string& name, std::string* dir);

// --wire, --cache-dtype, --expert-shards, --prefill-chunk, --threads, --pin-threads,
// --cache-tokens, --instructions, --weights, --overcommit.
struct RuntimeFlags {
  std::string wire = "bf16";
  std::string cache_dtype = "bf16";
  int32_t expert_shards = 1;
  int32_t prefill_chunk = 512;
  int32_t threads = 0;  // 0: the cores this process may use
  bool pin_threads = false;
  int32_t cache_tokens = 0;  // 0: as many as the request needs
  std::string instructions = "auto";
  WeightsFlag weights;
  bool overcommit = false;

  void add_to(CLI::App* app);

  // INVALID_ARGUMENT naming the first of these flags that was given although `instead` was: how a
  // server runs is its own business.
  static absl::Status check_not_given(const CLI::App& app, const std::string& instead);

  // Also chooses the instruction class of the process. INVALID_ARGUMENT for more shards than
  // experts or instructions that this CPU lacks.
  absl::StatusOr<LocalModel::Options> resolve(const ModelConfig& config,
                                              int32_t request_tokens) const;
};

// Sampling. What is not given comes from generation_config.json, as Hugging Face reads it: without
// do_sample the choice is greedy.
struct SamplingFlags {
  std::optional<float> temperature;
  std::optional<int32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> repetition_penalty;
  float min_p = 0.f;
  float presence_penalty = 0.f;
  float frequency_penalty = 0.f;
  std::vector<std::string> logit_bias;  // ID:VALUE
  std::optional<std::string> seed;      // absent: a random one, printed
  std::vector<std::string> stop_ids;    // lists of ids
  bool ignore_eos = false;
  int32_t min_tokens = 0;
  int32_t max_tokens = 128;
  int32_t logprobs = -1;
  bool prompt_logprobs = false;

  void add_to(CLI::App* app);

  absl::StatusOr<SamplingParams> resolve(const GenerationConfig& defaults) const;

  // For a server, which fills in what is not given.
  absl::Status to_message(v1::Sampling* message) const;
};

// --prompt, --prompt-file or --ids: exactly one.
struct PromptFlags {
  std::optional<std::string> text;
  std::optional<std::string> file;
  std::optional<std::string> ids;

  void add_to(CLI::App* app, bool allow_file);
};

}  // namespace conclave
