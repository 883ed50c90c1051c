// What rows in fp8 must keep:
//   - packed and unpacked they have the bits of the reference, at any length, magnitude and byte;
//   - codes and scales are the makers' (the vectors), at every tie as well;
//   - a run with NaN or infinity is NaN when it is read, and its neighbours are not;
//   - what others wrote is read as code * scale, whatever codes and scales are.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/reference/reference.h"
#include "kernels/row_codec.h"
#include "tests/kernels/kernel_test.h"

namespace conclave {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

class Fp8RowsTest : public KernelTest {};

std::vector<std::byte> packed(const std::vector<float>& x) {
  const int32_t n = static_cast<int32_t>(x.size());
  std::vector<std::byte> bytes(packed_row_bytes(DType::kF8E4M3, n));
  pack_rows({x.data(), 1, n, n}, DType::kF8E4M3, bytes.data());
  return bytes;
}

uint8_t code_at(const std::vector<std::byte>& row, size_t col) {
  return std::to_integer<uint8_t>(row[col]);
}

float scale_at(const std::vector<std::byte>& row, size_t num_cols, size_t run) {
  float scale;
  std::memcpy(&scale, row.data() + num_cols + run * sizeof(scale), sizeof(scale));
  return scale;
}

nlohmann::json vectors() {
  std::ifstream file(std::string(CONCLAVE_SOURCE_DIR) + "/tests/data/fp8_fp4_quant.json");
  return nlohmann::json::parse(file);
}

TEST(Fp8RowBytesTest, CodesAndAScaleForEachRun) {
  const std::vector<std::pair<int32_t, size_t>> expected = {
      {0, 0}, {1, 5}, {127, 131}, {128, 132}, {129, 137}, {256, 264}, {7168, 7392}};
  for (const auto& [num_cols, num_bytes] : expected) {
    EXPECT_EQ(packed_row_bytes(DType::kF8E4M3, num_cols), num_bytes) << num_cols;
    EXPECT_EQ(packed_row_bytes(DType::kBF16, num_cols), 2 * static_cast<size_t>(num_cols));
    EXPECT_EQ(packed_row_bytes(DType::kF32, num_cols), 4 * static_cast<size_t>(num_cols));
  }
}

// Three rows inside a wider matrix, packed at an odd byte; nothing around them is touched.
void expect_reference_bits(Rows<const float> rows) {
  const size_t row_bytes = packed_row_bytes(DType::kF8E4M3, rows.num_cols);
  const size_t num_bytes = static_cast<size_t>(rows.num_rows) * row_bytes;
  std::vector<std::byte> expected(num_bytes + 2, std::byte{0xA5});
  std::vector<std::byte> bytes = expected;
  pack_rows(rows, DType::kF8E4M3, bytes.data() + 1);
  Matrix<float> wide(rows.num_rows, rows.num_cols + 2);
  for (int32_t t = 0; t < rows.num_rows; ++t) {
    wide.row(t)[0] = wide.row(t)[rows.num_cols + 1] = 777.f;
    reference::pack_fp8_row(rows.row(t), rows.num_cols,
                            expected.data() + 1 + static_cast<size_t>(t) * row_bytes);
  }
  ASSERT_TRUE(bytes == expected) << rows.num_cols << " columns";
  const Rows<float> back = wide.view().cols(1, rows.num_cols);
  unpack_rows(bytes.data() + 1, DType::kF8E4M3, back);
  std::vector<float> meant(static_cast<size_t>(rows.num_cols));
  for (int32_t t = 0; t < rows.num_rows; ++t) {
    reference::unpack_fp8_row(expected.data() + 1 + static_cast<size_t>(t) * row_bytes,
                              rows.num_cols, meant.data());
    ASSERT_TRUE(same_bits(back.row(t), meant.data(), rows.num_cols)) << rows.num_cols;
    EXPECT_EQ(wide.row(t)[0], 777.f);
    EXPECT_EQ(wide.row(t)[rows.num_cols + 1], 777.f);
  }
}

TEST_P(Fp8RowsTest, HaveTheBitsOfTheReference) {
  for (const int32_t num_cols : {0, 1, 2, 7, 8, 9, 15, 16, 17, 127, 128, 129, 256, 300, 1030}) {
    for (const float size : {1e-38f, 1e-5f, 1.f, 3e3f, 3e38f}) {
      const Matrix<float> wide = random_matrix(3, num_cols + 5, 7, size);
      expect_reference_bits(wide.view().cols(2, num_cols));
    }
  }
}

// Numbers of every size beside each other, so that codes of every size occur.
TEST_P(Fp8RowsTest, NumbersOfEverySizeInARun) {
  Matrix<float> x = random_matrix(3, 1024, 3);
  for (int32_t t = 0; t < 3; ++t) {
    for (int32_t c = 0; c < 1024; ++c) x.row(t)[c] = std::ldexp(x.row(t)[c], -(c * 7 % 29));
  }
  expect_reference_bits(x.view());
}

// A run whose largest number is 448 has scale 1: what is rounded is the number itself.
TEST_P(Fp8RowsTest, EveryTieGoesToTheEvenCode) {
  std::vector<float> x;
  std::vector<uint8_t> expected;
  const auto add = [&](float value, uint8_t code) {
    if (x.size() % kFp8Block == 0) {
      x.push_back(kMostFp8);
      expected.push_back(0x7E);
    }
    x.push_back(value);
    expected.push_back(code);
  };
  for (uint8_t code = 0; code < 0x7E; ++code) {
    const uint8_t next = static_cast<uint8_t>(code + 1);
    const float tie = (to_f32(f8e4m3{code}) + to_f32(f8e4m3{next})) / 2;
    for (const uint8_t sign : {0x00, 0x80}) {
      const float one = sign == 0 ? 1.f : -1.f;
      add(one * to_f32(f8e4m3{code}), code | sign);
      add(one * std::nextafter(tie, 0.f), code | sign);
      add(one * tie, (code % 2 == 0 ? code : next) | sign);
      add(one * std::nextafter(tie, kInfinity), next | sign);
    }
  }
  const std::vector<std::byte> row = packed(x);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(scale_at(row, x.size(), i / kFp8Block), 1.f);
    EXPECT_EQ(code_at(row, i), expected[i]) << x[i];
  }
}

TEST_P(Fp8RowsTest, NumbersHaveTheCodesOfTheVectors) {
  const nlohmann::json json = vectors();
  ASSERT_FALSE(json.at("e4m3_encode").empty());
  for (const auto& entry : json.at("e4m3_encode")) {
    const float value = std::clamp(entry[0].get<float>(), -kMostFp8, kMostFp8);
    EXPECT_EQ(code_at(packed({value, kMostFp8}), 0), entry[1].get<uint8_t>()) << value;
  }
}

TEST_P(Fp8RowsTest, RunsHaveCodesAndScalesOfTheVectors) {
  const nlohmann::json json = vectors();
  ASSERT_FALSE(json.at("blocks_of_16_for_brevity").empty());
  for (const auto& block : json.at("blocks_of_16_for_brevity")) {
    const std::vector<uint8_t> codes = block.at("codes_fp32_scale");
    const std::vector<std::byte> row = packed(block.at("x_bf16").get<std::vector<float>>());
    EXPECT_EQ(scale_at(row, codes.size(), 0), block.at("fp32_scale_div").get<float>());
    for (size_t i = 0; i < codes.size(); ++i) {
      EXPECT_EQ(code_at(row, i), codes[i]) << block.at("kind") << " " << i;
    }
  }
}

TEST_P(Fp8RowsTest, ZerosKeepTheirSign) {
  std::vector<float> x(130, 0.f);
  x[1] = x[129] = -0.f;
  const std::vector<std::byte> row = packed(x);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(code_at(row, i), std::signbit(x[i]) ? 0x80 : 0);
  for (const size_t run : {0, 1}) EXPECT_EQ(scale_at(row, 130, run), 1e-4f / 448.f);
}

TEST_P(Fp8RowsTest, WhatIsNotFiniteSpoilsItsRunAlone) {
  for (const float bad : {kNaN, -kNaN, kInfinity, -kInfinity}) {
    for (const size_t at : {0, 127, 128, 255, 256, 259}) {
      std::vector<float> x = random_floats(260, 5);
      x[at] = bad;
      const std::vector<std::byte> row = packed(x);
      std::vector<float> back(x.size());
      unpack_rows(row.data(), DType::kF8E4M3, {back.data(), 1, 260, 260});
      for (size_t i = 0; i < x.size(); ++i) {
        const bool spoilt = i / kFp8Block == at / kFp8Block;
        EXPECT_EQ(std::isnan(back[i]), spoilt) << at << ": " << i;
        if (spoilt) {
          EXPECT_EQ(code_at(row, i), 0);
        }
      }
    }
  }
}

// The largest number of a run comes back as good as it was, and no other is further off than half
// of a step.
TEST_P(Fp8RowsTest, ComeBackWithinHalfAStep) {
  const std::vector<float> x = random_floats(7168, 9, 20.f);
  std::vector<float> back(x.size());
  unpack_rows(packed(x).data(), DType::kF8E4M3, {back.data(), 1, 7168, 7168});
  for (size_t i = 0; i < x.size(); ++i) {
    const double step = std::fabs(x[i]) / 16 + 20. / 448 * std::exp2(-10);
    ASSERT_NEAR(back[i], x[i], 1.0001 * step) << i;
  }
}

TEST_P(Fp8RowsTest, AnyCodeAndAnyScaleAreRead) {
  const std::vector<float> scales = {1.f, -0.3f, 0.f, 1e-40f, 3e38f, kInfinity, kNaN, 0.0038f};
  const int32_t n = static_cast<int32_t>(scales.size()) * kFp8Block;
  std::vector<std::byte> row(packed_row_bytes(DType::kF8E4M3, n));
  for (int32_t first : {0, 128}) {
    for (int32_t c = 0; c < n; ++c) row[c] = static_cast<std::byte>(first + c % kFp8Block);
    std::memcpy(row.data() + n, scales.data(), scales.size() * sizeof(float));
    std::vector<float> back(static_cast<size_t>(n));
    std::vector<float> expected(back.size());
    unpack_rows(row.data(), DType::kF8E4M3, {back.data(), 1, n, n});
    reference::unpack_fp8_row(row.data(), n, expected.data());
    for (size_t i = 0; i < back.size(); ++i) {
      if (std::isnan(expected[i])) {
        EXPECT_TRUE(std::isnan(back[i])) << i;
      } else {
        EXPECT_TRUE(same_bits(&back[i], &expected[i], 1)) << back[i] << " " << expected[i];
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, Fp8RowsTest, testing::ValuesIn(every_class()), class_name);

}  // namespace
}  // namespace conclave
