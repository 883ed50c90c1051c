// Hands out the tensors of a checkpoint one by one, each checked as it is asked for: its name is
// there, its shape and dtype are what the model needs, an fp8 weight has the scales of its blocks
// and a small tensor holds no NaN or infinity.
//
// The walks through a model (trunk_tensors.h, expert_tensors.h) are written once and run in two
// modes: from the headers only, to check and to count without touching a page of numbers, and for
// real. What was asked for is remembered, so what was never asked for can be named
// (unknown_tensors.h).
//
// Not thread-safe. What it hands out points into the checkpoint and into Owned, which the caller
// takes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/executor.h"
#include "kernels/weight.h"
#include "model/checkpoint/checkpoint.h"
#include "model/config/model_config.h"
#include "model/weights/int8_rows.h"
#include "model/weights/load_meter.h"
#include "model/weights/page_in.h"
#include "model/weights/weight_types.h"

namespace conclave {

enum class ReadMode { kHeadersOnly, kLoad };

// A matrix by name, or slice `slice_idx` of a tensor that fuses `num_slices` of them.
struct MatrixSpec {
  std::string name;
  int32_t num_rows = 0;
  int32_t num_cols = 0;
  WeightGroup group = WeightGroup::kFixed;
  bool may_be_fp8 = true;  // embedding, head and gate never are
  int32_t num_slices = 0;  // 0: the tensor is [num_rows, num_cols], else [num_slices, rows, cols]
  int32_t slice_idx = 0;
};

// Numbers that could not stay where the file has them.
struct Owned {
  std::vector<std::unique_ptr<float[]>> floats;
  std::vector<std::unique_ptr<std::byte[]>> bytes;
};

class TensorSource {
 public:
  struct Options {
    ReadMode mode = ReadMode::kHeadersOnly;
    LoadMeter* meter = nullptr;  // hears of the bytes that are copied; null in kHeadersOnly
    WeightTypes types;
    Executor* executor = inline_executor();  // converts
  };

  // `checkpoint`, `config` and what the options point at outlive the source.
  TensorSource(const Checkpoint* checkpoint, const ModelConfig* config, const Options& options);

  TensorSource(const TensorSource&) = delete;
  TensorSource& operator=(const TensorSource&) = delete;

  bool has(const std::string& name) const { return checkpoint_->find(name) != nullptr; }

  // Fills `out`; from headers only, without scales, with data that may not be aligned, and where it
  // is to be converted as it will be, without data.
  absl::Status matrix(const MatrixSpec& spec, Weight* out);

  // A norm's weight or a bias, [size], widened to f32; null from headers only.
  absl::Status vector(const std::string& name, int32_t size, const float** out);

  uint64_t num_params() const { return num_params_; }  // without scales
  uint64_t num_bytes() const { return num_bytes_; }    // as served, with scales
  const WeightTypes& types() const { return options_.types; }

  // What was converted, or from headers only would be: int8 for the groups with such a tensor, and
  // the tensors, of fused ones slice 0.
  const WeightTypes& converted_types() const { return converted_types_; }
  const std::vector<MatrixSpec>& converted() const { return converted_; }
  const std::vector<MappedRange>& ranges() const { return ranges_; }
  Owned take_owned() { return std::exchange(owned_, {}); }  // since the last time

  // Whether tensor `tensor_idx` of the checkpoint was asked for.
  bool was_read(size_t tensor_idx) const { return was_read_[tensor_idx]; }

 private:
  absl::StatusOr<const StoredTensor*> find_shaped(const std::string& name,
                                                  const std::vector<int64_t>& shape);
  // Which scales belong to weights of one format: the sibling's suffix and the blocks.
  struct ScaleGrid {
    const char* suffix = "";
    int32_t block_rows = 0;
    int32_t block_cols = 0;
  };
  absl::StatusOr<ScaleGrid> scale_grid(const StoredTensor& tensor, DType dtype) const;
  absl::StatusOr<DType> stored_type(const StoredTensor& tensor, const MatrixSpec& spec) const;
  absl::Status add_scale(const StoredTensor& tensor, const MatrixSpec& spec, Weight* out);
  absl::Status convert(const MatrixSpec& spec, const StoredMatrix& stored, Weight* out);
  // Keeps the codes of `out` where the file has them, or a copy where they are not aligned.
  absl::Status keep(const StoredTensor& tensor, Weight* out);
  // `count` numbers of `tensor` from byte `begin` as f32, in place where they can stay.
  absl::StatusOr<const float*> floats(const StoredTensor& tensor, uint64_t begin, uint64_t count,
                                      bool copy);

  const Checkpoint* const checkpoint_;
  const ModelConfig* const config_;
  const Options options_;

  std::vector<bool> was_read_;  // [number of tensors]
  std::vector<MappedRange> ranges_;
  Owned owned_;
  uint64_t num_params_ = 0;
  uint64_t num_bytes_ = 0;
  WeightTypes converted_types_;
  std::vector<MatrixSpec> converted_;
};

}  // namespace conclave
