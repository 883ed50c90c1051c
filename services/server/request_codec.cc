#include "services/server/request_codec.h"

namespace conclave {
namespace {

using LogitBiases = google::protobuf::RepeatedPtrField<v1::LogitBias>;

std::vector<std::pair<int32_t, float>> biases_from(const LogitBiases& messages) {
  std::vector<std::pair<int32_t, float>> biases;
  for (const v1::LogitBias& message : messages) biases.emplace_back(message.id(), message.bias());
  return biases;
}

void biases_to(const std::vector<std::pair<int32_t, float>>& biases, LogitBiases* messages) {
  for (const auto& [id, bias] : biases) {
    v1::LogitBias* const message = messages->Add();
    message->set_id(id);
    message->set_bias(bias);
  }
}

// What the two messages spell alike.
template <typename Message>
void common_to_proto(const SamplingParams& params, Message* message) {
  message->set_temperature(params.temperature);
  message->set_top_k(params.top_k);
  message->set_top_p(params.top_p);
  message->set_min_p(params.min_p);
  message->set_repetition_penalty(params.repetition_penalty);
  message->set_presence_penalty(params.presence_penalty);
  message->set_frequency_penalty(params.frequency_penalty);
  biases_to(params.logit_bias, message->mutable_logit_bias());
  message->set_seed(params.seed);
  message->mutable_stop_ids()->Assign(params.stop_ids.begin(), params.stop_ids.end());
  message->set_min_tokens(params.min_tokens);
  message->set_max_tokens(params.max_tokens);
  message->set_prompt_logprobs(params.prompt_logprobs);
}

TokenLogprob from_proto(const v1::Logprob& message) {
  return {.id = message.id(), .logprob = message.logprob()};
}

void to_proto(const TokenLogprob& logprob, v1::Logprob* message) {
  message->set_id(logprob.id);
  message->set_logprob(logprob.logprob);
}

}  // namespace

SamplingParams from_proto(const v1::Sampling& message, const GenerationConfig& defaults,
                          uint64_t fresh_seed) {
  const bool samples = defaults.do_sample.value_or(false);
  const SamplingParams ours;
  SamplingParams params{
      .temperature = samples ? defaults.temperature.value_or(1.f) : 0.f,
      .top_k = defaults.top_k.value_or(0),
      .top_p = defaults.top_p.value_or(1.f),
      .min_p = message.min_p(),
      .repetition_penalty = defaults.repetition_penalty.value_or(1.f),
      .presence_penalty = message.presence_penalty(),
      .frequency_penalty = message.frequency_penalty(),
      .logit_bias = biases_from(message.logit_bias()),
      .seed = message.has_seed() ? message.seed() : fresh_seed,
      .stop_ids = {message.stop_ids().begin(), message.stop_ids().end()},
      .min_tokens = message.min_tokens(),
      .max_tokens = message.has_max_tokens() ? message.max_tokens() : ours.max_tokens,
      .num_logprobs = message.has_num_logprobs() ? message.num_logprobs() : ours.num_logprobs,
      .prompt_logprobs = message.prompt_logprobs(),
  };
  if (message.has_temperature()) params.temperature = message.temperature();
  if (message.has_top_k()) params.top_k = message.top_k();
  if (message.has_top_p()) params.top_p = message.top_p();
  if (message.has_repetition_penalty()) params.repetition_penalty = message.repetition_penalty();
  if (!message.ignore_eos()) {
    params.stop_ids.insert(params.stop_ids.end(), defaults.end_ids.begin(), defaults.end_ids.end());
  }
  return params;
}

void to_proto(const SamplingParams& params, v1::Sampling* message) {
  common_to_proto(params, message);
  message->set_ignore_eos(true);
  if (params.wants_logprobs()) message->set_num_logprobs(params.num_logprobs);
}

SamplingParams from_proto(const v1::RunSampling& message) {
  return {.temperature = message.temperature(),
          .top_k = message.top_k(),
          .top_p = message.top_p(),
          .min_p = message.min_p(),
          .repetition_penalty = message.repetition_penalty(),
          .presence_penalty = message.presence_penalty(),
          .frequency_penalty = message.frequency_penalty(),
          .logit_bias = biases_from(message.logit_bias()),
          .seed = message.seed(),
          .stop_ids = {message.stop_ids().begin(), message.stop_ids().end()},
          .min_tokens = message.min_tokens(),
          .max_tokens = message.max_tokens(),
          .num_logprobs = message.num_logprobs(),
          .prompt_logprobs = message.prompt_logprobs()};
}

void to_proto(const SamplingParams& params, v1::RunSampling* message) {
  common_to_proto(params, message);
  message->set_num_logprobs(params.num_logprobs);
}

Logprobs from_proto(const v1::TokenLogprobs& message) {
  Logprobs logprobs{.chosen = from_proto(message.chosen())};
  for (const v1::Logprob& best : message.best()) logprobs.best.push_back(from_proto(best));
  return logprobs;
}

void to_proto(const Logprobs& logprobs, v1::TokenLogprobs* message) {
  to_proto(logprobs.chosen, message->mutable_chosen());
  for (const TokenLogprob& best : logprobs.best) to_proto(best, message->add_best());
}

std::vector<Logprobs> from_proto(
    const google::protobuf::RepeatedPtrField<v1::TokenLogprobs>& messages) {
  std::vector<Logprobs> all;
  for (const v1::TokenLogprobs& message : messages) all.push_back(from_proto(message));
  return all;
}

}  // namespace conclave
