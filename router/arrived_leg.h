// A leg on the side of those who hold experts, and who works on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/dtype.h"
#include "common/shared_bytes.h"
#include "router/transport.h"

namespace conclave {

// A matrix as it travels: row-major without padding.
struct PackedRows {
  DType dtype = DType::kF32;  // f32 or bf16; of rows out also fp8
  int32_t num_rows = 0;
  int32_t num_cols = 0;
  SharedBytes bytes;  // num_rows * packed_row_bytes(dtype, num_cols)

  bool operator==(const PackedRows&) const = default;
};

// M rows and N picks. Its shape is right: hidden is [M, D] with as many bytes and M is what
// pick_begin says, and its answer is not too large to travel. Whether picks are in order and
// anybody holds the experts is for whoever runs the leg.
struct ArrivedLeg {
  int32_t layer_idx = 0;
  int64_t placement_version = 0;
  std::vector<int32_t> pick_begin;   // [M + 1]
  std::vector<int32_t> pick_expert;  // [N]
  DType reply_type = DType::kBF16;
  PackedRows hidden;  // [M, D]

  // As it went out; a view of this. The lane does not travel.
  LegRequest view(ServerId server) const;
};

class LegHandler {
 public:
  // One row per pick, packed [N, D] of the leg's reply_type; or what was wrong.
  using Done = std::function<void(absl::StatusOr<SharedBytes>)>;

  virtual ~LegHandler() = default;

  // On a transport's threads, several at a time; must not block. `done` is called once, from any
  // thread, also when the caller is gone: then nobody hears the answer.
  virtual void submit(ArrivedLeg leg, Done done) = 0;
};

}  // namespace conclave
