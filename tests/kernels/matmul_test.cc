// What both products must keep, whatever the format of the weight:
//   - the result is the reference's, within rounding, for every shape, and no byte outside is
//   touched;
//   - row t of a product of many rows has the bits of that row alone;
//   - threads change no bit;
//   - a row range of a weight gives the bits of the same rows of the whole.

#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "common/thread_pool.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/kernel_test.h"

namespace conclave {
namespace {

using Product = void (*)(const MatmulArgs&, Executor*);

struct Kind {
  std::string name;
  Product fast;
  void (*reference)(const MatmulArgs&);
  bool transposed;
};

const Kind kKinds[] = {{"matmul", matmul, reference::matmul, false},
                       {"matmul_t", matmul_t, reference::matmul_t, true}};

constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E4M3};

class MatmulTest : public KernelTest {};

int32_t in_cols(const Kind& kind, const Weight& w) {
  return kind.transposed ? w.num_rows : w.num_cols;
}

int32_t out_cols(const Kind& kind, const Weight& w) {
  return kind.transposed ? w.num_cols : w.num_rows;
}

Matrix<float> product(const Kind& kind, Rows<const float> x, const Weight& w,
                      Executor* executor = inline_executor()) {
  Matrix<float> out(x.num_rows, out_cols(kind, w));
  kind.fast({.x = x, .w = w, .out = out.view()}, executor);
  return out;
}

// A bound on |fast - exact|: every addend is rounded at most once per step of its chain.
float tolerance(const Kind& kind, const Weight& w) {
  float largest = 0;
  for (int64_t n = 0; n < w.num_rows; ++n) {
    for (int64_t k = 0; k < w.num_cols; ++k) {
      largest = std::max(largest, std::fabs(reference::weight_at(w, n, k)));
    }
  }
  const float terms = static_cast<float>(in_cols(kind, w));
  return 1e-7f * largest * terms + 1e-12f;
}

void expect_reference(const Kind& kind, int32_t num_rows, const Weight& w) {
  const Matrix<float> x = random_matrix(num_rows, in_cols(kind, w), 5);
  const Matrix<float> out = product(kind, x.view(), w);
  Matrix<float> expected(num_rows, out_cols(kind, w));
  kind.reference({.x = x.view(), .w = w, .out = expected.view()});
  const float bound = tolerance(kind, w);
  for (int32_t t = 0; t < num_rows; ++t) {
    for (int32_t n = 0; n < out.num_cols(); ++n) {
      ASSERT_NEAR(out.view().row(t)[n], expected.view().row(t)[n], bound)
          << kind.name << " " << dtype_name(w.dtype) << " [" << w.num_rows << ", " << w.num_cols
          << "] x [" << num_rows << "] at " << t << ", " << n;
    }
  }
}

TEST_P(MatmulTest, IsTheReference) {
  for (const Kind& kind : kKinds) {
    for (const DType dtype : kDTypes) {
      for (const int32_t num_cols : {1, 2, 24, 33, 72, 80, 136, 576}) {
        for (const int32_t num_rows : {1, 2, 7, 33}) {
          const TestWeight w({.num_rows = num_rows, .num_cols = num_cols, .dtype = dtype}, 11);
          for (const int32_t tokens : {1, 2, 3, 9, 33}) expect_reference(kind, tokens, w.view());
        }
      }
    }
  }
}

TEST_P(MatmulTest, IsTheReferenceAcrossPanels) {
  for (const Kind& kind : kKinds) {
    for (const DType dtype : kDTypes) {
      const TestWeight w({.num_rows = 130, .num_cols = 2100, .dtype = dtype}, 3);
      expect_reference(kind, 70, w.view());
    }
  }
}

TEST_P(MatmulTest, EmptyShapesAreFine) {
  for (const Kind& kind : kKinds) {
    for (const DType dtype : kDTypes) {
      for (const int32_t tokens : {0, 1, 2, 33, 256}) {
        expect_reference(kind, tokens, TestWeight({0, 5, dtype}, 1).view());
        expect_reference(kind, tokens, TestWeight({5, 0, dtype}, 1).view());
        expect_reference(kind, tokens, TestWeight({0, 0, dtype}, 1).view());
      }
      expect_reference(kind, 0, TestWeight({3, 5, dtype}, 1).view());
    }
  }
}

TEST_P(MatmulTest, Fp8BlocksOfAnySize) {
  for (const Kind& kind : kKinds) {
    for (const int32_t block_rows : {1, 3, 32, 128}) {
      for (const int32_t block_cols : {1, 5, 8, 16, 24, 32, 128, 1000}) {
        const TestWeight w({.num_rows = 37,
                            .num_cols = 150,
                            .dtype = DType::kF8E4M3,
                            .block_rows = block_rows,
                            .block_cols = block_cols},
                           17);
        for (const int32_t tokens : {1, 3, 12}) expect_reference(kind, tokens, w.view());
      }
    }
  }
}

TEST_P(MatmulTest, ARowOfManyHasTheBitsOfTheRowAlone) {
  constexpr int32_t kMost = 140;
  for (const Kind& kind : kKinds) {
    for (const DType dtype : kDTypes) {
      for (const int32_t num_cols : {72, 576, 1100}) {
        const TestWeight weight({.num_rows = 83, .num_cols = num_cols, .dtype = dtype}, 23);
        const Weight w = weight.view();
        const Matrix<float> x = random_matrix(kMost, in_cols(kind, w), 29);
        const Matrix<float> all = product(kind, x.view(), w);
        for (const int32_t tokens : {1, 2, 3, 4, 5, 7, 8, 9, 64}) {
          for (const int32_t first : {0, 1, 60, kMost - tokens}) {
            const Matrix<float> some = product(kind, x.view().rows(first, tokens), w);
            for (int32_t t = 0; t < tokens; ++t) {
              ASSERT_TRUE(same_bits(some.view().row(t), all.view().row(first + t), all.num_cols()))
                  << kind.name << " " << dtype_name(dtype) << " K=" << num_cols << " T=" << tokens
                  << " first=" << first << " t=" << t;
            }
          }
        }
      }
    }
  }
}

TEST_P(MatmulTest, OddFp8BlocksKeepRowsApartToo) {
  for (const Kind& kind : kKinds) {
    const TestWeight weight({.num_rows = 40,
                             .num_cols = 100,
                             .dtype = DType::kF8E4M3,
                             .block_rows = 7,
                             .block_cols = 9},
                            23);
    const Weight w = weight.view();
    const Matrix<float> x = random_matrix(20, in_cols(kind, w), 29);
    const Matrix<float> all = product(kind, x.view(), w);
    for (int32_t t = 0; t < 20; ++t) {
      const Matrix<float> one = product(kind, x.view().rows(t, 1), w);
      ASSERT_TRUE(same_bits(one.view().row(0), all.view().row(t), all.num_cols())) << kind.name;
    }
  }
}

TEST_P(MatmulTest, ThreadsChangeNoBit) {
  for (const Kind& kind : kKinds) {
    for (const DType dtype : kDTypes) {
      const TestWeight weight({.num_rows = 700, .num_cols = 650, .dtype = dtype}, 31);
      const Weight w = weight.view();
      for (const int32_t tokens : {1, 5, 70}) {
        const Matrix<float> x = random_matrix(tokens, in_cols(kind, w), 37);
        const Matrix<float> alone = product(kind, x.view(), w);
        for (const int32_t threads : {1, 2, 3}) {
          ThreadPool pool(threads);
          const Matrix<float> shared = product(kind, x.view(), w, &pool);
          ASSERT_TRUE(
              same_bits(shared.view().data, alone.view().data, int64_t{tokens} * alone.num_cols()))
              << kind.name << " " << dtype_name(dtype) << " T=" << tokens << " on " << threads;
        }
      }
    }
  }
}

TEST_P(MatmulTest, ARowRangeOfAWeightIsThoseRows) {
  for (const DType dtype : kDTypes) {
    const TestWeight weight(
        {.num_rows = 50, .num_cols = 64, .dtype = dtype, .block_rows = 8, .block_cols = 32}, 41);
    const Weight w = weight.view();
    const Matrix<float> x = random_matrix(3, 64, 43);
    const Matrix<float> whole = product(kKinds[0], x.view(), w);
    for (const int32_t first : {0, 1, 7, 8, 13}) {
      const Matrix<float> part = product(kKinds[0], x.view(), w.rows(first, 21));
      for (int32_t t = 0; t < 3; ++t) {
        ASSERT_TRUE(same_bits(part.view().row(t), whole.view().row(t) + first, 21));
      }
      expect_reference(kKinds[1], 3, w.rows(first, 21));
    }
  }
}

// Views into wider rows on both sides; what lies between the rows stays.
TEST_P(MatmulTest, TouchesOnlyItsOwnColumns) {
  for (const Kind& kind : kKinds) {
    for (const int32_t tokens : {1, 3, 20}) {
      const TestWeight weight({.num_rows = 21, .num_cols = 27, .dtype = DType::kBF16}, 47);
      const Weight w = weight.view();
      const Matrix<float> wide = random_matrix(tokens, in_cols(kind, w) + 9, 53);
      const Rows<const float> x = wide.view().cols(4, in_cols(kind, w));
      Matrix<float> out(tokens, out_cols(kind, w) + 6);
      for (int32_t t = 0; t < tokens; ++t) std::fill_n(out.row(t), out.num_cols(), 777.f);
      kind.fast({.x = x, .w = w, .out = out.view().cols(2, out_cols(kind, w))}, inline_executor());

      const Matrix<float> expected = product(kind, x, w);
      for (int32_t t = 0; t < tokens; ++t) {
        for (const int32_t col : {0, 1, out.num_cols() - 4, out.num_cols() - 1}) {
          ASSERT_EQ(out.row(t)[col], 777.f) << kind.name;
        }
        ASSERT_TRUE(same_bits(out.row(t) + 2, expected.view().row(t), expected.num_cols()));
      }
    }
  }
}

// A product with the unit matrix reads a weight out: exact, and NaN where it is stored.
TEST_P(MatmulTest, EveryFp8CodeIsDecodedExactly) {
  for (const float scale : {1.f, 0.3f, 1e-30f, 2e38f}) {
    std::vector<f8e4m3> codes(256);
    for (size_t c = 0; c < codes.size(); ++c) codes[c].bits = static_cast<uint8_t>(c);
    const Weight w{.data = codes.data(),
                   .dtype = DType::kF8E4M3,
                   .num_rows = 256,
                   .num_cols = 1,
                   .scale = &scale,
                   .scale_cols = 1,
                   .block_rows = 256,
                   .block_cols = 128};
    const Weight across{.data = codes.data(),
                        .dtype = DType::kF8E4M3,
                        .num_rows = 1,
                        .num_cols = 256,
                        .scale = &scale,
                        .scale_cols = 1,
                        .block_rows = 128,
                        .block_cols = 256};
    const float one = 1.f;
    const Rows<const float> unit{&one, 1, 1, 1};
    const Matrix<float> down = product(kKinds[0], unit, w);
    const Matrix<float> wide = product(kKinds[1], unit, across);
    for (size_t c = 0; c < codes.size(); ++c) {
      const float expected = to_f32(codes[c]) * scale;
      for (const float value : {down.view().data[c], wide.view().data[c]}) {
        if (std::isnan(expected)) {
          EXPECT_TRUE(std::isnan(value)) << "code " << c;
        } else {
          EXPECT_EQ(value, expected) << "code " << c << " scale " << scale;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, MatmulTest, testing::ValuesIn(every_class()), class_name);

}  // namespace
}  // namespace conclave
