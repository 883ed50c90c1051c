// What the kernel tests share: numbers, weights in every format, and running on every instruction
// class.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "common/dtype.h"
#include "common/rows.h"
#include "kernels/instruction_class.h"
#include "kernels/weight.h"

namespace conclave {

// Forces the instruction class of its parameter and puts the best one back.
class KernelTest : public testing::TestWithParam<InstructionClass> {
 protected:
  void SetUp() override { ASSERT_TRUE(set_instruction_class(GetParam()).ok()); }
  void TearDown() override {
    ASSERT_TRUE(set_instruction_class(supported_instruction_classes().front()).ok());
  }
};

inline std::vector<InstructionClass> every_class() {
  const auto classes = supported_instruction_classes();
  return {classes.begin(), classes.end()};
}

inline std::string class_name(const testing::TestParamInfo<InstructionClass>& info) {
  return std::string(instruction_class_name(info.param));
}

inline std::vector<float> random_floats(int64_t count, uint32_t seed, float scale = 1.f) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = uniform(rng);
  return values;
}

inline Matrix<float> random_matrix(int32_t num_rows, int32_t num_cols, uint32_t seed,
                                   float scale = 1.f) {
  Matrix<float> matrix(num_rows, num_cols);
  const std::vector<float> values = random_floats(int64_t{num_rows} * num_cols, seed, scale);
  for (int32_t t = 0; t < num_rows; ++t) {
    std::copy_n(values.begin() + int64_t{t} * num_cols, num_cols, matrix.row(t));
  }
  return matrix;
}

inline uint16_t to_f16_bits(float value) {  // normal, small numbers, cut instead of rounded
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const int32_t exponent = static_cast<int32_t>((bits >> 23) & 0xFFu) - 127 + 15;
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  if (exponent <= 0) return sign;
  return static_cast<uint16_t>(sign | (exponent << 10) | ((bits >> 13) & 0x3FFu));
}

struct WeightShape {
  int32_t num_rows = 0;
  int32_t num_cols = 0;
  DType dtype = DType::kF32;
  int32_t block_rows = 128;  // fp8 only
  int32_t block_cols = 128;
};

// Owns a random weight. Its numbers start one element past an allocation that ends with them, so
// that they are aligned to the element only and a read past the end is seen by AddressSanitizer.
class TestWeight {
 public:
  TestWeight(const WeightShape& shape, uint32_t seed) : shape_(shape) {
    const int64_t count = int64_t{shape.num_rows} * shape.num_cols;
    const std::vector<float> values = random_floats(count, seed);
    bytes_.resize(static_cast<size_t>((count + 1) * dtype_bytes(shape.dtype)));
    bytes_.shrink_to_fit();
    for (int64_t i = 0; i < count; ++i) put(i, values[static_cast<size_t>(i)]);
    if (shape.dtype != DType::kF8E4M3) return;
    const int32_t scale_rows = (shape.num_rows + shape.block_rows - 1) / shape.block_rows;
    scale_cols_ = (shape.num_cols + shape.block_cols - 1) / shape.block_cols;
    scale_ = random_floats(int64_t{scale_rows} * scale_cols_, seed + 1, 0.01f);
  }

  Weight view() const {
    return {.data = bytes_.data() + dtype_bytes(shape_.dtype),
            .dtype = shape_.dtype,
            .num_rows = shape_.num_rows,
            .num_cols = shape_.num_cols,
            .scale = scale_.empty() ? nullptr : scale_.data(),
            .scale_cols = scale_cols_,
            .block_rows = shape_.dtype == DType::kF8E4M3 ? shape_.block_rows : 0,
            .block_cols = shape_.dtype == DType::kF8E4M3 ? shape_.block_cols : 0};
  }

 private:
  void put(int64_t idx, float value) {
    uint32_t bits = std::bit_cast<uint32_t>(value);
    if (shape_.dtype == DType::kBF16) bits = to_bf16(value).bits;
    if (shape_.dtype == DType::kF16) bits = to_f16_bits(value);
    if (shape_.dtype == DType::kF8E4M3) {
      bits = (bits >> 7) & 0xFFu;  // any code but NaN
      if ((bits & 0x7Fu) == 0x7Fu) bits = 0;
    }
    const size_t size = static_cast<size_t>(dtype_bytes(shape_.dtype));
    std::memcpy(bytes_.data() + (static_cast<size_t>(idx) + 1) * size, &bits, size);
  }

  WeightShape shape_;
  std::vector<char> bytes_;
  std::vector<float> scale_;
  int32_t scale_cols_ = 0;
};

inline bool same_bits(const float* a, const float* b, int64_t count) {
  return count == 0 || std::memcmp(a, b, static_cast<size_t>(count) * sizeof(float)) == 0;
}

}  // namespace conclave
