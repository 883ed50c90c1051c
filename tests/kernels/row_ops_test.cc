// What the row-wise ops must keep:
//   - the result is the reference's, within rounding, for rows of any length;
//   - a row's bits do not depend on the rows around it;
//   - very large arguments give the limit, never a surprise, and NaN stays NaN.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/reference/reference.h"
#include "kernels/rms_norm.h"
#include "kernels/softmax.h"
#include "kernels/swiglu.h"
#include "kernels/vector_ops.h"
#include "tests/kernels/kernel_test.h"

namespace conclave {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int32_t kSizes[] = {0, 1, 2, 7, 8, 15, 16, 24, 33, 72, 256, 1000};

class RowOpsTest : public KernelTest {};

void expect_close(Rows<const float> out, Rows<const float> expected, float relative) {
  for (int32_t t = 0; t < out.num_rows; ++t) {
    for (int32_t i = 0; i < out.num_cols; ++i) {
      const float want = expected.row(t)[i];
      ASSERT_NEAR(out.row(t)[i], want, relative * std::fabs(want) + 1e-37f) << t << ", " << i;
    }
  }
}

TEST_P(RowOpsTest, RmsNormIsTheReference) {
  for (const int32_t size : kSizes) {
    const Matrix<float> x = random_matrix(3, size, 1, 4.f);
    const std::vector<float> weight = random_floats(size + 1, 2);
    Matrix<float> out(3, size);
    Matrix<float> expected(3, size);
    rms_norm({x.view(), weight.data(), 1e-6f, out.view()});
    reference::rms_norm({x.view(), weight.data(), 1e-6f, expected.view()});
    expect_close(out.view(), expected.view(), 1e-6f);

    Matrix<float> in_place = x;
    rms_norm({in_place.view(), weight.data(), 1e-6f, in_place.view()});
    EXPECT_TRUE(same_bits(in_place.view().data, out.view().data, 3 * int64_t{size}));
  }
}

// With numbers as small as eps itself the two constants of the models differ visibly.
TEST_P(RowOpsTest, RmsNormReadsItsEps) {
  const Matrix<float> x = random_matrix(1, 64, 3, 1e-4f);
  const std::vector<float> weight(64, 1.f);
  for (const float eps : {1e-6f, 1e-5f}) {
    Matrix<float> out(1, 64);
    Matrix<float> expected(1, 64);
    rms_norm({x.view(), weight.data(), eps, out.view()});
    reference::rms_norm({x.view(), weight.data(), eps, expected.view()});
    expect_close(out.view(), expected.view(), 1e-6f);
  }
}

TEST_P(RowOpsTest, SwigluIsTheReference) {
  for (const int32_t size : kSizes) {
    const Matrix<float> gate = random_matrix(2, size, 5, 20.f);
    const Matrix<float> up = random_matrix(2, size, 6);
    Matrix<float> out(2, size);
    Matrix<float> expected(2, size);
    swiglu({gate.view(), up.view(), out.view()});
    reference::swiglu({gate.view(), up.view(), expected.view()});
    expect_close(out.view(), expected.view(), 1e-6f);

    Matrix<float> onto_gate = gate;
    swiglu({onto_gate.view(), up.view(), onto_gate.view()});
    EXPECT_TRUE(same_bits(onto_gate.view().data, out.view().data, 2 * int64_t{size}));
    Matrix<float> onto_up = up;
    swiglu({gate.view(), onto_up.view(), onto_up.view()});
    EXPECT_TRUE(same_bits(onto_up.view().data, out.view().data, 2 * int64_t{size}));
  }
}

TEST_P(RowOpsTest, SwigluAtTheEnds) {
  std::vector<float> gate = {0.f, 88.f, 89.f, 105.f, 1e30f, -88.f, -89.f, -105.f, -1e30f, kNaN};
  const std::vector<float> up(gate.size(), 1.f);
  const int32_t n = static_cast<int32_t>(gate.size());
  std::vector<float> out(gate.size());
  swiglu({{gate.data(), 1, n, n}, {up.data(), 1, n, n}, {out.data(), 1, n, n}});
  for (size_t i = 0; i + 1 < gate.size(); ++i) {
    EXPECT_NEAR(out[i], gate[i] > 0 ? gate[i] : 0.f, 1e-36f) << gate[i];
  }
  EXPECT_TRUE(std::isnan(out.back()));
}

TEST_P(RowOpsTest, SoftmaxIsTheReference) {
  for (const int32_t size : kSizes) {
    Matrix<float> x = random_matrix(4, size, 7, 30.f);
    Matrix<float> expected = x;
    Matrix<float> alone = x;
    softmax_rows(x.view());
    reference::softmax_rows(expected.view());
    expect_close(x.view(), expected.view(), 3e-6f);
    for (int32_t t = 0; t < 4; ++t) {
      softmax_rows(alone.view().rows(t, 1));
      EXPECT_TRUE(same_bits(alone.row(t), x.row(t), size));
    }
  }
}

TEST_P(RowOpsTest, SoftmaxAtTheEnds) {
  std::vector<float> x(20, -kInf);
  x[3] = 3e38f;
  x[7] = 3e38f;
  x[9] = -3e38f;
  softmax_rows({x.data(), 1, 20, 20});
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], i == 3 || i == 7 ? 0.5f : 0.f) << i;

  std::vector<float> with_nan(20, 1.f);
  with_nan[4] = kNaN;
  softmax_rows({with_nan.data(), 1, 20, 20});
  for (const float value : with_nan) EXPECT_TRUE(std::isnan(value));
}

TEST_P(RowOpsTest, SigmoidIsTheReference) {
  for (const int32_t size : kSizes) {
    Matrix<float> x = random_matrix(2, size, 8, 40.f);
    Matrix<float> expected = x;
    sigmoid_rows(x.view());
    reference::sigmoid_rows(expected.view());
    expect_close(x.view(), expected.view(), 1e-6f);
  }
}

TEST_P(RowOpsTest, SigmoidAtTheEnds) {
  std::vector<float> x = {0.f, 100.f, 1e30f, kInf, -100.f, -1e30f, -kInf, kNaN, 88.f, -88.f};
  sigmoid_rows({x.data(), 1, 10, 10});
  const std::vector<float> limits = {0.5f, 1.f, 1.f, 1.f, 0.f, 0.f, 0.f, kNaN, 1.f, 0.f};
  for (size_t i = 0; i < x.size(); ++i) {
    if (i == 7) {
      EXPECT_TRUE(std::isnan(x[i]));
    } else {
      EXPECT_NEAR(x[i], limits[i], 1e-37f) << i;
    }
  }
}

TEST_P(RowOpsTest, LogSumExpIsTheReference) {
  for (const int32_t size : kSizes) {
    std::vector<float> x = random_floats(size, 9, 50.f);
    if (size < 2) continue;  // the ends are below
    EXPECT_NEAR(log_sum_exp(x), reference::log_sum_exp(x), 1e-12) << size;
    x[1] = -kInf;
    EXPECT_NEAR(log_sum_exp(x), reference::log_sum_exp(x), 1e-12) << size;
  }
}

TEST_P(RowOpsTest, LogSumExpAtTheEnds) {
  EXPECT_EQ(log_sum_exp(std::vector<float>{}), -kInf);
  EXPECT_EQ(log_sum_exp(std::vector<float>{-7.f}), -7.);
  EXPECT_EQ(log_sum_exp(std::vector<float>(21, -kInf)), -kInf);
  EXPECT_EQ(log_sum_exp(std::vector<float>{1.f, kInf, -kInf}), kInf);
  EXPECT_NEAR(log_sum_exp(std::vector<float>(32, 3e38f)), double{3e38f} + std::log(32.), 1e23);
  EXPECT_NEAR(log_sum_exp(std::vector<float>(32, -3e38f)), double{-3e38f} + std::log(32.), 1e23);
  for (const size_t where : {size_t{0}, size_t{5}, size_t{20}}) {
    std::vector<float> x(21, 1.f);
    x[where] = kNaN;
    EXPECT_TRUE(std::isnan(log_sum_exp(x))) << where;
    std::vector<float> hidden(21, -kInf);
    hidden[where] = kNaN;
    EXPECT_TRUE(std::isnan(log_sum_exp(hidden))) << where;
  }
}

TEST_P(RowOpsTest, AddRowsAndAddScaled) {
  for (const int32_t size : kSizes) {
    const Matrix<float> x = random_matrix(2, size, 10);
    Matrix<float> out = random_matrix(2, size, 11);
    Matrix<float> scaled = out;
    const Matrix<float> before = out;
    add_rows(x.view(), out.view());
    for (int32_t t = 0; t < 2; ++t) {
      const size_t count = static_cast<size_t>(size);
      add_scaled(0.3f, {x.view().row(t), count}, {scaled.row(t), count});
      for (int32_t i = 0; i < size; ++i) {
        const float product = 0.3f * x.view().row(t)[i];
        EXPECT_EQ(out.row(t)[i], before.view().row(t)[i] + x.view().row(t)[i]);
        EXPECT_EQ(scaled.row(t)[i], before.view().row(t)[i] + product);
      }
    }
  }
}

TEST_P(RowOpsTest, AllFiniteSeesEveryPlace) {
  EXPECT_TRUE(all_finite({}));
  for (const int32_t size : {1, 2, 33, 256}) {
    std::vector<float> x = random_floats(size, 12, 1e38f);
    EXPECT_TRUE(all_finite(x));
    for (const float bad : {kInf, -kInf, kNaN, -kNaN}) {
      for (float& place : x) {
        const float kept = place;
        place = bad;
        EXPECT_FALSE(all_finite(x));
        place = kept;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, RowOpsTest, testing::ValuesIn(every_class()), class_name);

}  // namespace
}  // namespace conclave
