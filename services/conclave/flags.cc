#include "services/conclave/flags.h"

#include <algorithm>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/dtype.h"
#include "common/status_macros.h"
#include "common/thread_pool.h"
#include "kernels/instruction_class.h"
#include "services/conclave/prompt.h"

namespace conclave {
namespace {

constexpr int32_t kMaxThreads = 1024;
constexpr int32_t kMaxChunk = 65536;

absl::StatusOr<std::pair<int32_t, float>> parse_bias(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  std::pair<int32_t, float> bias;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &bias.first) ||
      !absl::SimpleAtof(parts[1], &bias.second)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--logit-bias takes ID:VALUE, not \"", text, "\""));
  }
  return bias;
}

absl::StatusOr<uint64_t> seed_or_random(const std::optional<std::string>& text) {
  uint64_t seed = 0;
  if (!text) {
    std::random_device device;
    seed = (uint64_t{device()} << 32) | device();
  } else if (!absl::SimpleAtoi(*text, &seed)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--seed takes a whole number of 64 bits, not \"", *text, "\""));
  }
  return seed;
}

absl::Status append_biases(const std::vector<std::string>& lists, SamplingParams* params) {
  for (const std::string& list : lists) {
    for (const absl::string_view text : absl::StrSplit(list, ',')) {
      ASSIGN_OR_RETURN(const auto bias, parse_bias(text));
      params->logit_bias.push_back(bias);
    }
  }
  return absl::OkStatus();
}

absl::Status append_stop_ids(const std::vector<std::string>& lists, SamplingParams* params) {
  for (const std::string& list : lists) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, parse_ids(list, "--stop-ids"));
    params->stop_ids.insert(params->stop_ids.end(), ids.begin(), ids.end());
  }
  return absl::OkStatus();
}

}  // namespace

CLI::Validator not_empty() {
  return CLI::Validator(
      [](const std::string& text) { return text.empty() ? "the value is empty" : ""; }, "");
}

void add_model_option(CLI::App* app, const std::string& name, std::string* dir) {
  app->add_option(name, *dir, "Folder of the model")->required()->check(not_empty());
}

void RuntimeFlags::add_to(CLI::App* app) {
  app->add_option("--wire", wire,
                  "Type of rows between attention and experts, both ways; fp8: out, bf16 back")
      ->check(CLI::IsMember({"f32", "bf16", "fp8"}))
      ->capture_default_str();
  app->add_option("--cache-dtype", cache_dtype, "Type of the latent cache")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app->add_option("--expert-shards", expert_shards, "Expert shards that the experts are split over")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app->add_option("--prefill-chunk", prefill_chunk, "Most prompt tokens of one step")
      ->check(CLI::Range(1, kMaxChunk))
      ->capture_default_str();
  app->add_option("--threads", threads, "Threads of the engine; 0: all usable cores")
      ->check(CLI::Range(0, kMaxThreads))
      ->capture_default_str();
  app->add_flag("--pin-threads", pin_threads,
                "One core for each thread, from the first that this process may use");
  app->add_option("--cache-tokens", cache_tokens,
                  "Tokens that the cache holds; 0: what the request needs")
      ->check(CLI::Range(0, INT32_MAX - 64))
      ->capture_default_str();
  app->add_option("--instructions", instructions,
                  "Kernels to use: avx2 gives the bits of an AVX2 machine anywhere")
      ->check(CLI::IsMember({"auto", "avx2", "avx512"}))
      ->capture_default_str();
  weights.add_to(app);
  app->add_flag("--overcommit", overcommit, "Load a model that exceeds the available memory");
}

absl::StatusOr<LocalModel::Options> RuntimeFlags::resolve(const ModelConfig& config,
                                                          int32_t request_tokens) const {
  const int32_t num_experts = config.moe.gate.num_experts;
  if (expert_shards > std::max(num_experts, 1)) {
    return absl::InvalidArgumentError(absl::StrCat("--expert-shards ", expert_shards,
                                                   ": the model has ", num_experts,
                                                   " routed experts a layer"));
  }
  RETURN_IF_ERROR(choose_instruction_class(instructions));
  return LocalModel::Options{
      .wire = *parse_dtype(wire),
      .cache = *parse_dtype(cache_dtype),
      .expert_shards = expert_shards,
      // No step is longer than the request, and memory is taken for the longest step.
      .prefill_chunk = std::min(prefill_chunk, std::max(request_tokens, 1)),
      .threads = threads == 0 ? num_usable_cores() : threads,
      .pin_threads = pin_threads,
      .max_running = 1,
      .cache_tokens = cache_tokens == 0 ? request_tokens : cache_tokens,
      .overcommit = overcommit,
  };
}

absl::Status RuntimeFlags::check_not_given(const CLI::App& app, const std::string& instead) {
  for (const char* const flag :
       {"--wire", "--cache-dtype", "--expert-shards", "--prefill-chunk", "--threads",
        "--pin-threads", "--cache-tokens", "--instructions", "--weights", "--overcommit"}) {
    if (app.count(flag) == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " is for an engine in this process, not for ", instead));
  }
  return absl::OkStatus();
}

void SamplingFlags::add_to(CLI::App* app) {
  app->add_option("--temperature", temperature, "0 is greedy; default: generation_config.json")
      ->check(not_empty());
  app->add_option("--top-k", top_k, "Keep the k best ids; 0: all")->check(not_empty());
  app->add_option("--top-p", top_p, "Keep the fewest best ids whose probabilities reach p")
      ->check(not_empty());
  app->add_option("--min-p", min_p, "Drop ids less likely than min-p times the best")
      ->check(not_empty())
      ->capture_default_str();
  app->add_option("--repetition-penalty", repetition_penalty,
                  "Divides positive and multiplies negative logits of ids seen so far")
      ->check(not_empty());
  app->add_option("--presence-penalty", presence_penalty, "Subtracted once from generated ids")
      ->check(not_empty())
      ->capture_default_str();
  app->add_option("--frequency-penalty", frequency_penalty,
                  "Subtracted per occurrence from generated ids")
      ->check(not_empty())
      ->capture_default_str();
  app->add_option("--logit-bias", logit_bias, "ID:VALUE,... added to logits; repeatable")
      ->allow_extra_args(false);
  app->add_option("--seed", seed, "Seed of the draws; default: random, printed");
  app->add_option("--stop-ids", stop_ids, "Further ids that end the text, comma-separated")
      ->allow_extra_args(false);
  app->add_flag("--ignore-eos", ignore_eos, "The model's end ids do not end the text");
  app->add_option("--min-tokens", min_tokens, "Ids to generate before a stop id may be drawn")
      ->check(not_empty())
      ->capture_default_str();
  app->add_option("--max-tokens", max_tokens, "Most ids to generate")
      ->check(not_empty())
      ->capture_default_str();
  app->add_option("--logprobs", logprobs,
                  "Print ln-probabilities to stderr: 0 of the drawn id, n also of the n best")
      ->check(CLI::Range(0, 20));
  app->add_flag("--prompt-logprobs", prompt_logprobs, "Print the same for the prompt's ids")
      ->needs("--logprobs");
}

absl::StatusOr<SamplingParams> SamplingFlags::resolve(const GenerationConfig& defaults) const {
  const bool samples = defaults.do_sample.value_or(false);
  ASSIGN_OR_RETURN(const uint64_t chosen_seed, seed_or_random(seed));
  SamplingParams params{
      .temperature = temperature.value_or(samples ? defaults.temperature.value_or(1.f) : 0.f),
      .top_k = top_k.value_or(defaults.top_k.value_or(0)),
      .top_p = top_p.value_or(defaults.top_p.value_or(1.f)),
      .min_p = min_p,
      .repetition_penalty = repetition_penalty.value_or(defaults.repetition_penalty.value_or(1.f)),
      .presence_penalty = presence_penalty,
      .frequency_penalty = frequency_penalty,
      .seed = chosen_seed,
      .min_tokens = min_tokens,
      .max_tokens = max_tokens,
      .num_logprobs = logprobs,
      .prompt_logprobs = prompt_logprobs,
  };
  RETURN_IF_ERROR(append_biases(logit_bias, &params));
  RETURN_IF_ERROR(append_stop_ids(stop_ids, &params));
  if (!ignore_eos) {
    params.stop_ids.insert(params.stop_ids.end(), defaults.end_ids.begin(), defaults.end_ids.end());
  }
  return params;
}

absl::Status SamplingFlags::to_message(v1::Sampling* message) const {
  SamplingParams lists;
  RETURN_IF_ERROR(append_biases(logit_bias, &lists));
  RETURN_IF_ERROR(append_stop_ids(stop_ids, &lists));
  for (const auto& [id, bias] : lists.logit_bias) {
    v1::LogitBias* const one = message->add_logit_bias();
    one->set_id(id);
    one->set_bias(bias);
  }
  message->mutable_stop_ids()->Add(lists.stop_ids.begin(), lists.stop_ids.end());
  if (temperature) message->set_temperature(*temperature);
  if (top_k) message->set_top_k(*top_k);
  if (top_p) message->set_top_p(*top_p);
  if (repetition_penalty) message->set_repetition_penalty(*repetition_penalty);
  message->set_min_p(min_p);
  message->set_presence_penalty(presence_penalty);
  message->set_frequency_penalty(frequency_penalty);
  message->set_ignore_eos(ignore_eos);
  message->set_min_tokens(min_tokens);
  message->set_max_tokens(max_tokens);
  if (logprobs >= 0) message->set_num_logprobs(logprobs);
  message->set_prompt_logprobs(prompt_logprobs);
  if (!seed) return absl::OkStatus();  // the gateway draws one
  ASSIGN_OR_RETURN(const uint64_t given, seed_or_random(seed));
  message->set_seed(given);
  return absl::OkStatus();
}

void PromptFlags::add_to(CLI::App* app, bool allow_file) {
  CLI::Option_group* const group = app->add_option_group("prompt");
  group->add_option("--prompt", text, "Text to go on from");
  if (allow_file) group->add_option("--prompt-file", file, "File with the text; - is stdin");
  group->add_option("--ids", ids, "Token ids to go on from, comma-separated");
  group->require_option(1);
}

}  // namespace conclave
