// How ids are drawn, and what is said of them, between messages (proto/inference.proto,
// proto/attention.proto) and the sampler's values. Pure functions. Ranges are not looked at here:
// validate() of model/sampler/sampling_params.h says what is allowed.
#pragma once

#include <cstdint>
#include <vector>

#include "google/protobuf/repeated_ptr_field.h"
#include "model/config/read_config.h"
#include "model/sampler/sampler.h"
#include "model/sampler/sampling_params.h"
#include "proto/attention.pb.h"
#include "proto/inference.pb.h"

namespace conclave {

// A client's wish with the model's defaults filled in, as `conclave generate` does with its flags.
// The model's end ids stop the text unless ignore_eos. `fresh_seed` is for a request without one.
SamplingParams from_proto(const v1::Sampling& message, const GenerationConfig& defaults,
                          uint64_t fresh_seed);

// Everything said, nothing left to a default: ignore_eos is set, for stop_ids are all there are.
void to_proto(const SamplingParams& params, v1::Sampling* message);

// Exact in both directions.
SamplingParams from_proto(const v1::RunSampling& message);
void to_proto(const SamplingParams& params, v1::RunSampling* message);

Logprobs from_proto(const v1::TokenLogprobs& message);
void to_proto(const Logprobs& logprobs, v1::TokenLogprobs* message);

std::vector<Logprobs> from_proto(
    const google::protobuf::RepeatedPtrField<v1::TokenLogprobs>& messages);

}  // namespace conclave
