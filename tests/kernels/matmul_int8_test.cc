// What int8 products must keep:
//   - quantised rows and products have the bits of the plain loops that define them, on every
//     instruction class, for every shape, whatever the codes of a file are;
//   - row t of a product of many rows has the bits of that row alone, and threads change no bit;
//   - what is not finite shows in the product, in its own row alone;
//   - a product is close to that of the numbers before quantisation.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "common/thread_pool.h"
#include "kernels/matmul.h"
#include "kernels/quantise.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/kernel_test.h"

namespace conclave {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Any codes there are, -128 too, and scales of both signs; zeros in some blocks.
class Int8Weight {
 public:
  Int8Weight(int32_t num_rows, int32_t num_cols, uint32_t seed)
      : num_rows_(num_rows), num_cols_(num_cols), num_blocks_(num_int8_blocks(num_cols)) {
    std::mt19937 rng(seed);
    codes_.resize(static_cast<size_t>(num_rows) * static_cast<size_t>(num_cols));
    for (int8_t& code : codes_) code = static_cast<int8_t>(rng() & 0xFFu);
    codes_.shrink_to_fit();
    scale_ = random_floats(int64_t{num_rows} * num_blocks_, seed + 1, 0.01f);
    for (size_t i = 0; i < scale_.size(); i += 7) scale_[i] = 0.f;
  }

  Weight view() const {
    return {.data = codes_.data(),
            .dtype = DType::kI8,
            .num_rows = num_rows_,
            .num_cols = num_cols_,
            .scale = scale_.data(),
            .scale_cols = num_blocks_,
            .block_rows = 1,
            .block_cols = kInt8Block};
  }

 private:
  int32_t num_rows_;
  int32_t num_cols_;
  int32_t num_blocks_;
  std::vector<int8_t> codes_;
  std::vector<float> scale_;
};

Matrix<float> product(Rows<const float> x, const Weight& w,
                      Executor* executor = inline_executor()) {
  Matrix<float> out(x.num_rows, w.num_rows);
  matmul({.x = x, .w = w, .out = out.view()}, executor);
  return out;
}

void expect_reference(int32_t num_rows, const Weight& w) {
  const Matrix<float> x = random_matrix(num_rows, w.num_cols, 5);
  const Matrix<float> out = product(x.view(), w);
  Matrix<float> expected(num_rows, w.num_rows);
  reference::matmul_int8({.x = x.view(), .w = w, .out = expected.view()});
  ASSERT_TRUE(same_bits(out.view().data, expected.view().data, int64_t{num_rows} * w.num_rows))
      << "[" << w.num_rows << ", " << w.num_cols << "] x [" << num_rows << "]";
}

class MatmulInt8Test : public KernelTest {};

TEST_P(MatmulInt8Test, QuantisedRowsAreTheReferences) {
  for (const int32_t num_cols : {1, 2, 7, 8, 33, 127, 128, 129, 150, 256, 1000}) {
    for (const float size : {1e-42f, 1e-37f, 1e-30f, 1.f, 1e30f, 1e38f}) {
      std::vector<float> x = random_floats(num_cols, 3, size);
      if (num_cols > 3) x[3] = -0.f;
      std::vector<int8_t> codes(x.size(), 99);
      std::vector<int8_t> expected(x.size(), 98);
      std::vector<float> scale(static_cast<size_t>(num_int8_blocks(num_cols)), 7.f);
      std::vector<float> expected_scale = scale;
      EXPECT_TRUE(quantise_row(x.data(), num_cols, codes.data(), scale.data()));
      EXPECT_TRUE(
          reference::quantise_row(x.data(), num_cols, expected.data(), expected_scale.data()));
      ASSERT_EQ(codes, expected) << num_cols << " of " << size;
      ASSERT_EQ(scale, expected_scale) << num_cols << " of " << size;
    }
  }
}

TEST_P(MatmulInt8Test, TiesGoToTheEvenCode) {
  std::vector<float> x(kInt8Block, 0.f);
  x[0] = 127.f;
  for (int i = 1; i < 100; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i) - 50.5f;
  std::vector<int8_t> codes(x.size());
  float scale = 0;
  ASSERT_TRUE(quantise_row(x.data(), kInt8Block, codes.data(), &scale));
  EXPECT_EQ(scale, 1.f);
  for (size_t i = 1; i < 100; ++i) EXPECT_EQ(codes[i] % 2, 0) << x[i];
}

TEST_P(MatmulInt8Test, ZerosHaveNoScale) {
  for (const float value : {0.f, -0.f, 1e-45f, 1e-37f}) {
    const std::vector<float> x(kInt8Block, value);
    std::vector<int8_t> codes(x.size(), 5);
    float scale = 1;
    EXPECT_TRUE(quantise_row(x.data(), kInt8Block, codes.data(), &scale));
    EXPECT_EQ(scale, 0.f);
    EXPECT_EQ(codes, std::vector<int8_t>(x.size(), 0));
  }
}

TEST_P(MatmulInt8Test, WeightRowsOfEveryFormat) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    for (const int32_t num_cols : {1, 33, 128, 300}) {
      const TestWeight weight(
          {.num_rows = 3, .num_cols = num_cols, .dtype = dtype, .block_rows = 2, .block_cols = 48},
          9);
      const Weight w = weight.view();
      std::vector<float> row(static_cast<size_t>(num_cols));
      std::vector<int8_t> codes(row.size());
      std::vector<int8_t> expected(row.size());
      std::vector<float> scale(static_cast<size_t>(num_int8_blocks(num_cols)));
      std::vector<float> expected_scale(scale.size());
      for (int32_t n = 0; n < 3; ++n) {
        for (int32_t k = 0; k < num_cols; ++k) {
          row[static_cast<size_t>(k)] = reference::weight_at(w, n, k);
        }
        EXPECT_TRUE(quantise_weight_row(w, n, codes.data(), scale.data()));
        reference::quantise_row(row.data(), num_cols, expected.data(), expected_scale.data());
        ASSERT_EQ(codes, expected) << dtype_name(dtype) << " K=" << num_cols;
        ASSERT_EQ(scale, expected_scale);
      }
    }
  }
}

TEST_P(MatmulInt8Test, IsTheReference) {
  for (const int32_t num_cols : {0, 1, 2, 31, 33, 127, 128, 129, 200, 256, 1000}) {
    for (const int32_t num_rows : {0, 1, 2, 3, 4, 5, 33}) {
      const Int8Weight w(num_rows, num_cols, 11);
      for (const int32_t tokens : {0, 1, 2, 3, 5, 33}) expect_reference(tokens, w.view());
    }
  }
  expect_reference(256, Int8Weight(256, 256, 3).view());
}

TEST_P(MatmulInt8Test, LargestSumsAreExact) {
  for (const int8_t code : {int8_t{-128}, int8_t{127}}) {
    const std::vector<int8_t> codes(2 * kInt8Block, code);
    const std::vector<float> scale(2, 1.f);
    const Weight w{.data = codes.data(),
                   .dtype = DType::kI8,
                   .num_rows = 1,
                   .num_cols = 2 * kInt8Block,
                   .scale = scale.data(),
                   .scale_cols = 2,
                   .block_rows = 1,
                   .block_cols = kInt8Block};
    for (const float x : {127.f, -127.f}) {
      Matrix<float> row(1, 2 * kInt8Block);
      std::fill_n(row.row(0), 2 * kInt8Block, x);
      EXPECT_EQ(product(row.view(), w).view().data[0], 2 * kInt8Block * x * code);
    }
  }
}

TEST_P(MatmulInt8Test, ARowOfManyHasTheBitsOfTheRowAlone) {
  constexpr int32_t kMost = 140;
  const Int8Weight weight(83, 450, 23);
  const Matrix<float> x = random_matrix(kMost, 450, 29);
  const Matrix<float> all = product(x.view(), weight.view());
  for (const int32_t tokens : {1, 2, 3, 4, 5, 7, 64, 65}) {
    for (const int32_t first : {0, 1, 60, kMost - tokens}) {
      const Matrix<float> some = product(x.view().rows(first, tokens), weight.view());
      for (int32_t t = 0; t < tokens; ++t) {
        ASSERT_TRUE(same_bits(some.view().row(t), all.view().row(first + t), all.num_cols()))
            << "T=" << tokens << " first=" << first << " t=" << t;
      }
    }
  }
}

TEST_P(MatmulInt8Test, ThreadsAndRowRangesChangeNoBit) {
  const Int8Weight weight(1000, 650, 31);
  for (const int32_t tokens : {1, 5, 300}) {
    const Matrix<float> x = random_matrix(tokens, 650, 37);
    const Matrix<float> alone = product(x.view(), weight.view());
    for (const int32_t threads : {2, 3}) {
      ThreadPool pool(threads);
      const Matrix<float> shared = product(x.view(), weight.view(), &pool);
      ASSERT_TRUE(same_bits(shared.view().data, alone.view().data, int64_t{tokens} * 1000));
    }
    const Matrix<float> part = product(x.view(), weight.view().rows(13, 21));
    for (int32_t t = 0; t < tokens; ++t) {
      ASSERT_TRUE(same_bits(part.view().row(t), alone.view().row(t) + 13, 21));
    }
  }
}

TEST_P(MatmulInt8Test, WhatIsNotFiniteShowsInItsRow) {
  const Int8Weight weight(9, 300, 41);
  for (const float bad : {kNaN, kInfinity, -kInfinity}) {
    Matrix<float> x = random_matrix(3, 300, 43);
    const Matrix<float> clean = product(x.view(), weight.view());
    x.row(1)[290] = bad;
    const Matrix<float> out = product(x.view(), weight.view());
    for (int32_t n = 0; n < 9; ++n) EXPECT_FALSE(std::isfinite(out.view().row(1)[n]));
    EXPECT_TRUE(same_bits(out.view().row(0), clean.view().row(0), 9));
    EXPECT_TRUE(same_bits(out.view().row(2), clean.view().row(2), 9));
  }
}

TEST_P(MatmulInt8Test, IsCloseToTheProductOfTheNumbers) {
  const TestWeight stored({.num_rows = 40, .num_cols = 1024, .dtype = DType::kF32}, 51);
  std::vector<int8_t> codes(40 * 1024);
  std::vector<float> scale(40 * 8);
  for (int64_t n = 0; n < 40; ++n) {
    ASSERT_TRUE(quantise_weight_row(stored.view(), n, &codes[n * 1024], &scale[n * 8]));
  }
  const Weight w{.data = codes.data(),
                 .dtype = DType::kI8,
                 .num_rows = 40,
                 .num_cols = 1024,
                 .scale = scale.data(),
                 .scale_cols = 8,
                 .block_rows = 1,
                 .block_cols = kInt8Block};
  const Matrix<float> x = random_matrix(6, 1024, 53);
  const Matrix<float> out = product(x.view(), w);
  const Matrix<float> exact = product(x.view(), stored.view());
  // Numbers in [-1, 1]: a sum's deviation is some sqrt(1024) / 3, of which 1 % is far above what
  // two roundings to 1/127 leave.
  for (int64_t i = 0; i < 6 * 40; ++i) {
    EXPECT_NEAR(out.view().data[i], exact.view().data[i], 0.32) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, MatmulInt8Test, testing::ValuesIn(every_class()), class_name);

}  // namespace
}  // namespace conclave
