// Stored rows as int8 (kernels/quantise.h), a range of rows at a time: at load for --weights, and
// for `conclave convert`. No f32 copy of more than a block of a row is made.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "common/executor.h"
#include "kernels/weight.h"
#include "model/checkpoint/checkpoint.h"

namespace conclave {

// A matrix of the checkpoint, or a slice of one, with its scales where it has any. The numbers may
// lie unaligned.
struct StoredMatrix {
  const StoredTensor* tensor = nullptr;
  Weight weight;
};

struct RowRange {
  int32_t first = 0;
  int32_t count = 0;
};

// codes [count, K], scale [count, ceil(K / kInt8Block)]. INVALID_ARGUMENT naming the tensor where a
// number is NaN or infinite, DATA_LOSS where it cannot be read. The pages that were read are let go
// of again, so that a model's stored form does not stay in memory beside its int8 form.
absl::Status convert_rows(const Checkpoint& checkpoint, const StoredMatrix& stored,
                          const RowRange& rows, int8_t* codes, float* scale, Executor* executor);

}  // namespace conclave
