// What rotary embedding must keep:
//   - frequencies are the makers', to the last f32 bit: data/yarn.json, including a ramp of no
//   width;
//   - both layouts turn the same pairs, so q . k is the same in either;
//   - turning back restores a vector, and what is not asked for is not touched.

#include "kernels/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/reference/reference.h"
#include "tests/kernels/kernel_test.h"

namespace conclave {
namespace {

nlohmann::json yarn_tables() {
  std::ifstream file(std::string(CONCLAVE_SOURCE_DIR) + "/tests/data/yarn.json");
  return nlohmann::json::parse(file);
}

TEST(RopeFrequenciesTest, AreTheMakersTables) {
  const nlohmann::json tables = yarn_tables();
  int32_t num_tables = 0;
  for (const auto& [name, table] : tables.items()) {
    if (!table.contains("inv_freq_f64")) continue;
    ++num_tables;
    const std::vector<float> frequencies =
        rope_frequencies({.num_dims = table.at("dim"),
                          .theta = table.at("base"),
                          .factor = table.at("factor"),
                          .original_max_positions = table.at("orig"),
                          .beta_fast = table.at("beta_fast"),
                          .beta_slow = table.at("beta_slow")});
    const std::vector<double> expected = table.at("inv_freq_f64");
    ASSERT_EQ(frequencies.size(), expected.size()) << name;
    for (size_t j = 0; j < expected.size(); ++j) {
      EXPECT_FLOAT_EQ(frequencies[j], static_cast<float>(expected[j])) << name << " pair " << j;
    }
  }
  EXPECT_GE(num_tables, 4);
}

TEST(RopeFrequenciesTest, WithoutYarn) {
  const std::vector<float> frequencies = rope_frequencies({.num_dims = 64, .theta = 10000});
  for (int32_t j = 0; j < 32; ++j) {
    EXPECT_FLOAT_EQ(frequencies[static_cast<size_t>(j)],
                    static_cast<float>(std::pow(10000., -j / 32.)));
  }
}

// Both turns just outside the first pair: the ramp has no width and is a step, not a division by
// zero.
TEST(RopeFrequenciesTest, ARampOfNoWidthIsAStep) {
  constexpr double kPositions = 4096;
  constexpr double kTurns = 1.1 * kPositions / (2 * 3.14159265358979323846);
  const std::vector<float> frequencies = rope_frequencies({.num_dims = 8,
                                                           .theta = 10000,
                                                           .factor = 4,
                                                           .original_max_positions = kPositions,
                                                           .beta_fast = kTurns,
                                                           .beta_slow = kTurns});
  const float expected[] = {1.f, 0.1f / 4, 0.01f / 4, 0.001f / 4};
  ASSERT_EQ(frequencies.size(), 4u);
  for (size_t j = 0; j < 4; ++j) EXPECT_FLOAT_EQ(frequencies[j], expected[j]) << j;
}

TEST(RopeFrequenciesTest, YarnScale) {
  EXPECT_NEAR(yarn_scale(40, 0.707), 1.2608038, 1e-7);
  EXPECT_NEAR(yarn_scale(40, 1), 1.3688879, 1e-7);
  EXPECT_NEAR(yarn_scale(32, 1), 1.3465736, 1e-7);
  EXPECT_NEAR(yarn_scale(64, 1), 1.4158883, 1e-7);
  EXPECT_EQ(yarn_scale(1, 1), 1);
  EXPECT_EQ(yarn_scale(0.5, 1), 1);
}

struct Angles {
  Matrix<float> cos;
  Matrix<float> sin;
};

Angles angles_at(const std::vector<int32_t>& positions, int32_t num_dims, float factor = 1.f) {
  const std::vector<float> frequencies = rope_frequencies({.num_dims = num_dims});
  const int32_t num_tokens = static_cast<int32_t>(positions.size());
  Angles angles{Matrix<float>(num_tokens, num_dims / 2), Matrix<float>(num_tokens, num_dims / 2)};
  rope_angles({positions, frequencies, factor, angles.cos.view(), angles.sin.view()});
  return angles;
}

// The angle is an f32 product, as in transformers; at 2^17 an exact one would differ visibly.
TEST(RopeAnglesTest, AnglesAreFloatProducts) {
  const std::vector<float> frequencies = rope_frequencies({.num_dims = 64});
  const Angles angles = angles_at({0, 1, 131071}, 64, 1.5f);
  for (size_t j = 0; j < frequencies.size(); ++j) {
    EXPECT_EQ(angles.cos.view().row(0)[j], 1.5f);
    EXPECT_EQ(angles.sin.view().row(0)[j], 0.f);
    const float angle = 131071.f * frequencies[j];
    EXPECT_NEAR(angles.cos.view().row(2)[j], 1.5 * std::cos(double{angle}), 1e-6);
    EXPECT_NEAR(angles.sin.view().row(2)[j], 1.5 * std::sin(double{angle}), 1e-6);
  }
}

class RopeTest : public KernelTest {};

RopeArgs rope_args(Matrix<float>* x, const Angles& angles, bool interleaved) {
  return {.x = x->view(),
          .interleaved = interleaved,
          .cos = angles.cos.view(),
          .sin = angles.sin.view()};
}

TEST_P(RopeTest, IsTheReference) {
  for (const int32_t num_dims : {2, 6, 8, 24, 34, 64, 72}) {
    for (const bool interleaved : {true, false}) {
      const Angles angles = angles_at({0, 5, 100000}, num_dims);
      Matrix<float> x = random_matrix(3, num_dims * 4 + 10, 3);
      Matrix<float> expected = x;
      RopeArgs args = rope_args(&x, angles, interleaved);
      args.first_col = 3;
      args.head_stride = num_dims + 1;
      args.num_heads = 4;
      rope(args);
      args.x = expected.view();
      reference::rope(args);
      for (int32_t t = 0; t < 3; ++t) {
        for (int32_t i = 0; i < x.num_cols(); ++i) {
          ASSERT_NEAR(x.row(t)[i], expected.row(t)[i], 2e-7f) << num_dims << ": " << t << ", " << i;
        }
      }
    }
  }
}

TEST_P(RopeTest, BothLayoutsTurnTheSamePairs) {
  constexpr int32_t kDims = 72;
  const Angles angles = angles_at({77}, kDims);
  Matrix<float> pairs = random_matrix(1, kDims, 4);
  Matrix<float> halves(1, kDims);
  for (int32_t j = 0; j < kDims / 2; ++j) {
    halves.row(0)[j] = pairs.row(0)[2 * j];
    halves.row(0)[kDims / 2 + j] = pairs.row(0)[2 * j + 1];
  }
  rope(rope_args(&pairs, angles, true));
  rope(rope_args(&halves, angles, false));
  for (int32_t j = 0; j < kDims / 2; ++j) {
    EXPECT_EQ(halves.row(0)[j], pairs.row(0)[2 * j]);
    EXPECT_EQ(halves.row(0)[kDims / 2 + j], pairs.row(0)[2 * j + 1]);
  }
}

TEST_P(RopeTest, TurningBackRestores) {
  const Angles angles = angles_at({12345}, 64);
  Angles back = angles;
  for (int32_t j = 0; j < 32; ++j) back.sin.row(0)[j] = -back.sin.row(0)[j];
  const Matrix<float> before = random_matrix(1, 64, 5);
  Matrix<float> x = before;
  rope(rope_args(&x, angles, true));
  rope(rope_args(&x, back, true));
  for (int32_t i = 0; i < 64; ++i) EXPECT_NEAR(x.row(0)[i], before.view().row(0)[i], 1e-6f);
}

TEST_P(RopeTest, NothingToTurnIsFine) {
  const Angles angles = angles_at({}, 8);
  Matrix<float> x(0, 8);
  rope(rope_args(&x, angles, true));
}

INSTANTIATE_TEST_SUITE_P(Classes, RopeTest, testing::ValuesIn(every_class()), class_name);

}  // namespace
}  // namespace conclave
