#include "model/weights/tensor_source.h"

#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/checked_math.h"
#include "common/status_macros.h"
#include "kernels/quantise.h"
#include "model/weights/stored_numbers.h"

namespace conclave {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::vector<int64_t> shape_of(const MatrixSpec& spec, int64_t rows, int64_t cols) {
  if (spec.num_slices == 0) return {rows, cols};
  return {spec.num_slices, rows, cols};
}

}  // namespace

TensorSource::TensorSource(const Checkpoint* checkpoint, const ModelConfig* config,
                           const Options& options)
    : checkpoint_(checkpoint),
      config_(config),
      options_(options),
      was_read_(checkpoint->tensors().size()) {
  CHECK(options.mode == ReadMode::kHeadersOnly || options.meter != nullptr);
}

absl::StatusOr<const StoredTensor*> TensorSource::find_shaped(const std::string& name,
                                                              const std::vector<int64_t>& shape) {
  const StoredTensor* tensor = checkpoint_->find(name);
  if (tensor == nullptr) {
    return absl::NotFoundError(absl::StrCat(checkpoint_->dir(), ": tensor ", name, " is missing"));
  }
  if (tensor->shape != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint_->where(*tensor), " has the shape ", shape_text(tensor->shape),
                     ", but config.json asks for ", shape_text(shape)));
  }
  was_read_[static_cast<size_t>(tensor - checkpoint_->tensors().data())] = true;
  return tensor;
}

absl::StatusOr<DType> TensorSource::stored_type(const StoredTensor& tensor,
                                                const MatrixSpec& spec) const {
  const std::optional<DType> dtype = weight_dtype(tensor.dtype);
  if (!dtype.has_value() || (*dtype == DType::kF8E4M3 && !spec.may_be_fp8) ||
      (*dtype == DType::kI8 && spec.group == WeightGroup::kFixed)) {
    return absl::UnimplementedError(absl::StrCat(checkpoint_->where(tensor), " is ", tensor.dtype,
                                                 ", which this build does not read there"));
  }
  const std::optional<DType> wanted = options_.types.of(spec.group);
  if (!wanted || *wanted == DType::kI8 || *wanted == *dtype) return *dtype;
  return absl::InvalidArgumentError(
      absl::StrCat(checkpoint_->where(tensor), " is ", tensor.dtype, ", and --weights asks for ",
                   std::string(weight_group_name(spec.group)), "=",
                   std::string(dtype_name(*wanted)), ": weights stay as stored or become int8"));
}

absl::Status TensorSource::matrix(const MatrixSpec& spec, Weight* out) {
  const std::vector<int64_t> shape = shape_of(spec, spec.num_rows, spec.num_cols);
  ASSIGN_OR_RETURN(const StoredTensor* tensor, find_shaped(spec.name, shape));
  ASSIGN_OR_RETURN(const DType dtype, stored_type(*tensor, spec));
  *out = Weight{};
  out->dtype = dtype;
  out->num_rows = spec.num_rows;
  out->num_cols = spec.num_cols;
  out->data = tensor->data + static_cast<uint64_t>(spec.slice_idx) * out->num_bytes();
  num_params_ += static_cast<uint64_t>(spec.num_rows) * static_cast<uint64_t>(spec.num_cols);

  const bool converts = dtype != DType::kI8 && options_.types.of(spec.group) == DType::kI8;
  const uint64_t bytes_before = num_bytes_;
  const size_t ranges_before = ranges_.size();
  num_bytes_ += out->num_bytes();
  if (has_scales(dtype)) RETURN_IF_ERROR(add_scale(*tensor, spec, out));
  if (!converts) return keep(*tensor, out);
  num_bytes_ = bytes_before;  // what is stored is not what will be read
  const StoredMatrix stored{.tensor = tensor, .weight = *out};
  RETURN_IF_ERROR(convert(spec, stored, out));
  ranges_.resize(ranges_before);
  return absl::OkStatus();
}

absl::Status TensorSource::keep(const StoredTensor& tensor, Weight* out) {
  if (options_.mode == ReadMode::kHeadersOnly) return absl::OkStatus();
  const auto* const data = static_cast<const std::byte*>(out->data);
  if (is_aligned(data, out->dtype)) {
    ranges_.push_back({data, out->num_bytes(), &tensor});
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(page_in(*checkpoint_, {data, out->num_bytes(), &tensor}));
  owned_.bytes.push_back(std::make_unique_for_overwrite<std::byte[]>(out->num_bytes()));
  std::memcpy(owned_.bytes.back().get(), data, out->num_bytes());
  out->data = owned_.bytes.back().get();
  options_.meter->add(out->num_bytes());
  return absl::OkStatus();
}

absl::Status TensorSource::convert(const MatrixSpec& spec, const StoredMatrix& stored,
                                   Weight* out) {
  converted_types_.set(spec.group, DType::kI8);
  if (spec.slice_idx == 0) converted_.push_back(spec);
  *out = Weight{.dtype = DType::kI8,
                .num_rows = spec.num_rows,
                .num_cols = spec.num_cols,
                .scale_cols = num_int8_blocks(spec.num_cols),
                .block_rows = 1,
                .block_cols = kInt8Block};
  const uint64_t num_scales =
      static_cast<uint64_t>(spec.num_rows) * static_cast<uint64_t>(out->scale_cols);
  const uint64_t num_bytes = out->num_bytes() + num_scales * sizeof(float);
  num_bytes_ += num_bytes;
  if (options_.mode == ReadMode::kHeadersOnly) return absl::OkStatus();
  owned_.bytes.push_back(std::make_unique_for_overwrite<std::byte[]>(out->num_bytes()));
  owned_.floats.push_back(std::make_unique_for_overwrite<float[]>(num_scales));
  out->data = owned_.bytes.back().get();
  out->scale = owned_.floats.back().get();
  RETURN_IF_ERROR(convert_rows(*checkpoint_, stored, {0, spec.num_rows},
                               reinterpret_cast<int8_t*>(owned_.bytes.back().get()),
                               owned_.floats.back().get(), options_.executor));
  options_.meter->add(num_bytes);
  return absl::OkStatus();
}

absl::StatusOr<TensorSource::ScaleGrid> TensorSource::scale_grid(const StoredTensor& tensor,
                                                                 DType dtype) const {
  const bool is_int8 = dtype == DType::kI8;
  const ScaleGrid grid =
      is_int8 ? ScaleGrid{"_scale", config_->has_int8 ? 1 : 0, kInt8Block}
              : ScaleGrid{"_scale_inv", config_->fp8_block_rows, config_->fp8_block_cols};
  if (grid.block_rows > 0) return grid;
  return absl::InvalidArgumentError(absl::StrCat(checkpoint_->where(tensor), " is ", tensor.dtype,
                                                 ", but config.json has no quantization_config",
                                                 is_int8 ? " of int8" : ""));
}

absl::Status TensorSource::add_scale(const StoredTensor& tensor, const MatrixSpec& spec,
                                     Weight* out) {
  ASSIGN_OR_RETURN(const ScaleGrid grid, scale_grid(tensor, out->dtype));
  const std::string name = absl::StrCat(spec.name, grid.suffix);
  if (!has(name)) {
    return absl::NotFoundError(absl::StrCat(checkpoint_->where(tensor), " is ", tensor.dtype,
                                            ", but tensor ", name, " is missing"));
  }
  out->block_rows = grid.block_rows;
  out->block_cols = grid.block_cols;
  out->scale_cols = ceil_div(spec.num_cols, out->block_cols);
  const int32_t scale_rows = ceil_div(spec.num_rows, out->block_rows);
  ASSIGN_OR_RETURN(const StoredTensor* scale,
                   find_shaped(name, shape_of(spec, scale_rows, out->scale_cols)));
  const std::optional<DType> dtype = weight_dtype(scale->dtype);
  if (!dtype.has_value() || has_scales(*dtype)) {
    return absl::UnimplementedError(absl::StrCat(checkpoint_->where(*scale), " is ", scale->dtype,
                                                 ", which this build does not read as scales"));
  }
  const uint64_t count = static_cast<uint64_t>(scale_rows) * static_cast<uint64_t>(out->scale_cols);
  const uint64_t num_bytes = count * static_cast<uint64_t>(dtype_bytes(*dtype));
  num_bytes_ += num_bytes;
  if (options_.mode == ReadMode::kHeadersOnly) return absl::OkStatus();
  const uint64_t begin = static_cast<uint64_t>(spec.slice_idx) * num_bytes;
  ASSIGN_OR_RETURN(out->scale, floats(*scale, begin, count, /*copy=*/false));
  return absl::OkStatus();
}

absl::Status TensorSource::vector(const std::string& name, int32_t size, const float** out) {
  *out = nullptr;
  ASSIGN_OR_RETURN(const StoredTensor* tensor, find_shaped(name, {size}));
  const std::optional<DType> dtype = weight_dtype(tensor->dtype);
  if (!dtype.has_value() || has_scales(*dtype)) {
    return absl::UnimplementedError(absl::StrCat(checkpoint_->where(*tensor), " is ", tensor->dtype,
                                                 ", which this build does not read there"));
  }
  num_params_ += static_cast<uint64_t>(size);
  num_bytes_ += tensor->num_bytes;
  if (options_.mode == ReadMode::kHeadersOnly) return absl::OkStatus();
  ASSIGN_OR_RETURN(*out, floats(*tensor, 0, static_cast<uint64_t>(size), /*copy=*/true));
  return absl::OkStatus();
}

absl::StatusOr<const float*> TensorSource::floats(const StoredTensor& tensor, uint64_t begin,
                                                  uint64_t count, bool copy) {
  const DType dtype = *weight_dtype(tensor.dtype);
  const std::byte* data = tensor.data + begin;
  const uint64_t num_bytes = count * static_cast<uint64_t>(dtype_bytes(dtype));
  RETURN_IF_ERROR(page_in(*checkpoint_, {data, num_bytes, &tensor}));
  const float* values = nullptr;
  if (!copy && dtype == DType::kF32 && is_aligned(data, dtype)) {
    values = reinterpret_cast<const float*>(data);
    ranges_.push_back({data, num_bytes, &tensor});
  } else {
    owned_.floats.push_back(std::make_unique_for_overwrite<float[]>(count));
    widen(data, dtype, count, owned_.floats.back().get());
    values = owned_.floats.back().get();
    options_.meter->add(num_bytes);
  }
  if (!all_finite(values, count)) {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint_->where(tensor), " holds NaN or infinity"));
  }
  return values;
}

}  // namespace conclave
