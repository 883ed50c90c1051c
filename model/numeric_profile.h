// What decides the bits of an answer (contract C1). Servers whose profiles agree may stand in for
// each other; a cluster whose profiles differ runs, and says that it is not exact.
//
// The C library is part of it too where it computes sines, cosines and exponentials; processes of
// one build and image share it, and `kernel_version` is raised when ours or its bits change.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/dtype.h"
#include "model/checkpoint/checkpoint.h"
#include "model/weights/weight_types.h"

namespace conclave {

// Raised whenever a kernel gives other bits than before for the same input.
inline constexpr int32_t kKernelVersion = 1;

struct NumericProfile {
  std::string weights;      // fingerprint_of() the checkpoint
  std::string weight_type;  // of the routed experts: "stored", as in the checkpoint, or "int8"
  int32_t kernel_version = 0;
  std::string instructions;  // of the kernels: "avx2", "avx512"

  // Of attention nodes; empty on expert servers, which have no trunk and answer in any type they
  // are asked for.
  std::string trunk_type;  // "stored", or "attention=int8,head=int8" of what is not
  std::string wire_out;    // "bf16", "f32", "fp8"
  std::string wire_back;
  std::string cache_type;
  std::string attention_form;  // "absorbed"

  bool operator==(const NumericProfile&) const = default;
};

// OK when `theirs` gives the same bits as `ours` in everything both of them say; otherwise
// FAILED_PRECONDITION naming the first field that differs and its two values.
absl::Status agree(const NumericProfile& ours, const NumericProfile& theirs);

// The profile of an expert server, or of the weights' half of an attention node, in this process.
// `converted` is what loading converts (ModelSize), so that a checkpoint which is int8 already is
// "stored" whatever was asked for.
NumericProfile profile_of_weights(const Checkpoint& checkpoint, const WeightTypes& converted = {});

// 32 hex digits: SHA-256 over the names, types and shapes of all tensors and a sample of the
// contents of up to 4,096 of them. Another model, or another training of the same model, has
// another one; it reads a few MiB of a checkpoint of any size.
std::string fingerprint_of(const Checkpoint& checkpoint);

}  // namespace conclave
