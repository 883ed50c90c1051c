#include "model/sampler/sampling_params.h"

#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

absl::Status out_of_range(const std::string& field, const std::string& value,
                          const std::string& range) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", value, ", must be in ", range));
}

struct FloatRule {
  const char* field;
  float value;
  float min;
  float max;
  bool min_is_allowed = true;
};

absl::Status check_float(const FloatRule& rule) {
  const bool above = rule.min_is_allowed ? rule.value >= rule.min : rule.value > rule.min;
  if (above && rule.value <= rule.max) return absl::OkStatus();  // NaN fails both
  return out_of_range(
      rule.field, absl::StrFormat("%g", rule.value),
      absl::StrFormat("%c%g, %g]", rule.min_is_allowed ? '[' : '(', rule.min, rule.max));
}

struct IntRule {
  const char* field;
  int64_t value;
  int64_t min;
  int64_t max;
};

absl::Status check_int(const IntRule& rule) {
  if (rule.value >= rule.min && rule.value <= rule.max) return absl::OkStatus();
  return out_of_range(rule.field, absl::StrCat(rule.value),
                      absl::StrCat("[", rule.min, ", ", rule.max, "]"));
}

absl::Status check_floats(const SamplingParams& p) {
  const FloatRule rules[] = {
      {"temperature", p.temperature, 0.f, 100.f},
      {"top_p", p.top_p, 0.f, 1.f, /*min_is_allowed=*/false},
      {"min_p", p.min_p, 0.f, 1.f},
      {"repetition_penalty", p.repetition_penalty, 0.01f, 10.f},
      {"presence_penalty", p.presence_penalty, -2.f, 2.f},
      {"frequency_penalty", p.frequency_penalty, -2.f, 2.f},
  };
  for (const FloatRule& rule : rules) RETURN_IF_ERROR(check_float(rule));
  return absl::OkStatus();
}

absl::Status check_ints(const SamplingParams& p) {
  const auto num_biases = static_cast<int64_t>(p.logit_bias.size());
  const auto num_stop_ids = static_cast<int64_t>(p.stop_ids.size());
  const IntRule rules[] = {
      {"top_k", p.top_k, 0, INT32_MAX},
      {"max_tokens", p.max_tokens, 1, INT32_MAX},
      {"min_tokens", p.min_tokens, 0, p.max_tokens},
      {"num_logprobs", p.num_logprobs, -1, kMaxLogprobs},
      {"the number of logit_bias entries", num_biases, 0, kMaxLogitBiases},
      {"the number of stop_ids", num_stop_ids, 0, kMaxStopIds},
  };
  for (const IntRule& rule : rules) RETURN_IF_ERROR(check_int(rule));
  return absl::OkStatus();
}

absl::Status check_biases(const SamplingParams& params, int32_t vocab_size) {
  absl::flat_hash_set<int32_t> seen;
  for (const auto& [id, bias] : params.logit_bias) {
    RETURN_IF_ERROR(check_int({"an id of logit_bias", id, 0, int64_t{vocab_size} - 1}));
    const std::string field = absl::StrCat("logit_bias of id ", id);
    RETURN_IF_ERROR(check_float({field.c_str(), bias, -100.f, 100.f}));
    if (!seen.insert(id).second) {
      return absl::InvalidArgumentError(absl::StrCat("logit_bias names id ", id, " twice"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status validate(const SamplingParams& params, int32_t vocab_size) {
  RETURN_IF_ERROR(check_floats(params));
  RETURN_IF_ERROR(check_ints(params));
  RETURN_IF_ERROR(check_biases(params, vocab_size));
  for (const int32_t id : params.stop_ids) {
    RETURN_IF_ERROR(check_int({"an id of stop_ids", id, 0, int64_t{vocab_size} - 1}));
  }
  if (params.prompt_logprobs && !params.wants_logprobs()) {
    return absl::InvalidArgumentError(absl::StrCat("prompt_logprobs is true and num_logprobs is ",
                                                   params.num_logprobs, ", must be at least 0"));
  }
  return absl::OkStatus();
}

}  // namespace conclave
