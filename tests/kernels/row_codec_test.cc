// What the row formats must keep:
//   - unpack(pack(x)) is x in f32, and to_bf16(x) in bf16, bit for bit, at any place in a row;
//   - rounding is to nearest, ties to even; NaN stays NaN, what is too large becomes infinity;
//   - fp8 codes mean what the table of the format says, and rows dequantise to the makers' values.

#include "kernels/row_codec.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/matmul.h"
#include "tests/kernels/kernel_test.h"

namespace conclave {
namespace {

class RowCodecTest : public KernelTest {};

std::vector<uint16_t> packed_bf16(const std::vector<float>& x) {
  const int32_t n = static_cast<int32_t>(x.size());
  std::vector<uint16_t> bits(x.size());
  pack_rows({x.data(), 1, n, n}, DType::kBF16, reinterpret_cast<std::byte*>(bits.data()));
  return bits;
}

// Every sign and exponent, with low halves around the tie, so that every carry happens.
std::vector<float> hard_floats() {
  std::vector<float> values;
  for (uint32_t high = 0; high < 0x10000u; high += 5) {
    for (const uint32_t low : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      values.push_back(std::bit_cast<float>((high << 16) | low));
    }
  }
  return values;
}

TEST_P(RowCodecTest, RoundsAsTheConversionDoes) {
  const std::vector<float> values = hard_floats();
  const std::vector<uint16_t> bits = packed_bf16(values);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(bits[i], to_bf16(values[i]).bits) << std::bit_cast<uint32_t>(values[i]);
  }
}

TEST_P(RowCodecTest, TiesNaNAndInfinity) {
  const auto f = [](uint32_t bits) { return std::bit_cast<float>(bits); };
  const std::vector<float> x = {f(0x3F808000), f(0x3F818000), f(0x3F808001), f(0x7F7FFFFF),
                                f(0xFF7FFFFF), f(0x7F800000), f(0xFF800000), f(0x80000000)};
  const std::vector<uint16_t> expected = {0x3F80, 0x3F82, 0x3F81, 0x7F80,
                                          0xFF80, 0x7F80, 0xFF80, 0x8000};
  EXPECT_EQ(packed_bf16(x), expected);
  for (const uint32_t nan : {0x7F800001u, 0x7FFFFFFFu, 0xFF800001u, 0xFFFFFFFFu, 0x7FC00000u}) {
    for (const uint16_t bits : packed_bf16(std::vector<float>(17, f(nan)))) {
      EXPECT_TRUE(std::isnan(to_f32(bf16{bits}))) << nan;
    }
  }
}

TEST_P(RowCodecTest, RoundTripsFromWiderRowsAtAnyByte) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int32_t num_cols : {0, 1, 2, 15, 16, 33, 256}) {
      const Matrix<float> wide = random_matrix(3, num_cols + 5, 1);
      const Rows<const float> rows = wide.view().cols(2, num_cols);
      std::vector<std::byte> packed(static_cast<size_t>(3 * num_cols * dtype_bytes(dtype)) + 1);
      pack_rows(rows, dtype, packed.data() + 1);
      Matrix<float> back(3, num_cols + 3);
      for (int32_t t = 0; t < 3; ++t) back.row(t)[0] = back.row(t)[num_cols + 1] = 777.f;
      unpack_rows(packed.data() + 1, dtype, back.view().cols(1, num_cols));
      for (int32_t t = 0; t < 3; ++t) {
        EXPECT_EQ(back.row(t)[0], 777.f);
        EXPECT_EQ(back.row(t)[num_cols + 1], 777.f);
        for (int32_t i = 0; i < num_cols; ++i) {
          const float value = rows.row(t)[i];
          const float expected = dtype == DType::kF32 ? value : to_f32(to_bf16(value));
          ASSERT_EQ(back.row(t)[i + 1], expected) << num_cols << ": " << t << ", " << i;
        }
      }
    }
  }
}

TEST_P(RowCodecTest, NoRowsAreFine) {
  pack_rows({nullptr, 0, 8, 8}, DType::kBF16, nullptr);
  unpack_rows(nullptr, DType::kF32, {nullptr, 0, 8, 8});
}

nlohmann::json fp8_vectors() {
  std::ifstream file(std::string(CONCLAVE_SOURCE_DIR) + "/tests/data/fp8_fp4_quant.json");
  return nlohmann::json::parse(file);
}

// The vectors name the code of a number; the code must mean the nearest number there is.
TEST(Fp8VectorsTest, CodesMeanTheNearestNumber) {
  const nlohmann::json vectors = fp8_vectors();
  for (const auto& entry : vectors.at("e4m3_encode")) {
    const double value = std::clamp(entry[0].get<double>(), -448., 448.);
    const uint8_t code = entry[1].get<uint8_t>();
    const double decoded = to_f32(f8e4m3{code});
    for (int32_t other = 0; other < 256; ++other) {
      const double candidate = to_f32(f8e4m3{static_cast<uint8_t>(other)});
      if (std::isnan(candidate)) continue;
      EXPECT_LE(std::fabs(decoded - value), std::fabs(candidate - value)) << value;
    }
  }
}

// A block of the vectors as a weight: the product with a unit vector reads code * scale, and that
// is the original number within half a step of the format.
TEST_P(RowCodecTest, Fp8BlocksDequantise) {
  const nlohmann::json vectors = fp8_vectors();
  for (const auto& block : vectors.at("blocks_of_16_for_brevity")) {
    const std::vector<uint8_t> codes = block.at("codes_fp32_scale");
    const std::vector<double> original = block.at("x_bf16");
    const float scale = block.at("fp32_scale_div");
    const int32_t n = static_cast<int32_t>(codes.size());
    const Weight w{.data = codes.data(),
                   .dtype = DType::kF8E4M3,
                   .num_rows = 1,
                   .num_cols = n,
                   .scale = &scale,
                   .scale_cols = 1,
                   .block_rows = 128,
                   .block_cols = 128};
    const float one = 1.f;
    std::vector<float> out(codes.size());
    matmul_t({{&one, 1, 1, 1}, w, {out.data(), 1, n, n}}, inline_executor());
    for (size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(out[i], to_f32(f8e4m3{codes[i]}) * scale);
      const double half_step = std::fabs(original[i]) / 16 + scale * std::exp2(-10);
      EXPECT_NEAR(out[i], original[i], 1.01 * half_step) << block.at("kind");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, RowCodecTest, testing::ValuesIn(every_class()), class_name);

}  // namespace
}  // namespace conclave
