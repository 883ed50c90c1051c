// What views and matrices must keep: a range of rows or columns is the same memory, seen through
// the same stride; a range that reaches outside stops the process, also where its sum would
// overflow.

#include "common/rows.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

namespace conclave {
namespace {

// [4, 3] with two columns of padding: element [r, c] is 5 r + c.
class RowsTest : public testing::Test {
 protected:
  RowsTest() : values_(4 * 5) { std::iota(values_.begin(), values_.end(), 0); }
  Rows<int32_t> view() { return {values_.data(), 4, 3, 5}; }

  std::vector<int32_t> values_;
};

TEST_F(RowsTest, RowsAreAStrideApart) {
  for (int32_t r = 0; r < 4; ++r) EXPECT_EQ(view().row(r)[2], 5 * r + 2);
}

TEST_F(RowsTest, ARangeOfRowsIsTheSameMemory) {
  const Rows<int32_t> middle = view().rows(1, 2);
  EXPECT_EQ(middle.num_rows, 2);
  EXPECT_EQ(middle.num_cols, 3);
  EXPECT_EQ(middle.stride, 5);
  EXPECT_EQ(middle.row(1), view().row(2));
}

TEST_F(RowsTest, ARangeOfColumnsKeepsTheStride) {
  const Rows<int32_t> last = view().cols(2, 1);
  EXPECT_EQ(last.num_rows, 4);
  EXPECT_EQ(last.num_cols, 1);
  for (int32_t r = 0; r < 4; ++r) EXPECT_EQ(*last.row(r), 5 * r + 2);
}

TEST_F(RowsTest, RangesOfRanges) {
  EXPECT_EQ(*view().rows(1, 3).cols(1, 2).rows(2, 1).cols(1, 1).row(0), 5 * 3 + 2);
}

TEST_F(RowsTest, EmptyRangesAtBothEnds) {
  EXPECT_EQ(view().rows(0, 0).num_rows, 0);
  EXPECT_EQ(view().rows(4, 0).num_rows, 0);
  EXPECT_EQ(view().cols(3, 0).num_cols, 0);
}

TEST_F(RowsTest, ConstIsFree) {
  const Rows<const int32_t> seen = view();
  EXPECT_EQ(seen.data, values_.data());
  EXPECT_EQ(seen.stride, 5);
}

using RowsDeathTest = RowsTest;

TEST_F(RowsDeathTest, NoRangeReachesOutside) {
  EXPECT_DEATH(view().rows(3, 2), "CHECK failed");
  EXPECT_DEATH(view().rows(-1, 1), "CHECK failed: first >= 0");
  EXPECT_DEATH(view().rows(0, -1), "CHECK failed: count >= 0");
  EXPECT_DEATH(view().rows(5, 0), "CHECK failed");
  EXPECT_DEATH(view().cols(1, 3), "CHECK failed");
  EXPECT_DEATH(view().cols(-1, 1), "CHECK failed: first >= 0");
  EXPECT_DEATH(view().cols(0, -1), "CHECK failed: count >= 0");
}

TEST_F(RowsDeathTest, NoRangeReachesOutsideByOverflow) {
  EXPECT_DEATH(view().rows(1, INT32_MAX), "CHECK failed");
  EXPECT_DEATH(view().rows(INT32_MAX, 1), "CHECK failed");
  EXPECT_DEATH(view().cols(1, INT32_MAX), "CHECK failed");
}

TEST(MatrixTest, IsZeroAndDense) {
  Matrix<float> matrix(3, 4);
  EXPECT_EQ(matrix.num_rows(), 3);
  EXPECT_EQ(matrix.num_cols(), 4);
  EXPECT_EQ(matrix.view().stride, 4);
  EXPECT_EQ(matrix.row(2), matrix.view().data + 8);
  for (int32_t r = 0; r < 3; ++r) {
    for (int32_t c = 0; c < 4; ++c) EXPECT_EQ(matrix.row(r)[c], 0.f);
  }
}

TEST(MatrixTest, FirstRowsIsAView) {
  Matrix<int32_t> matrix(3, 2);
  matrix.first_rows(2).row(1)[1] = 7;
  EXPECT_EQ(matrix.row(1)[1], 7);
  EXPECT_EQ(matrix.first_rows(0).num_rows, 0);
}

TEST(MatrixTest, WithoutRowsStillHasColumns) {
  Matrix<float> matrix(0, 8);
  const Rows<float> right = matrix.view().cols(4, 4);
  EXPECT_EQ(right.num_rows, 0);
  EXPECT_EQ(right.num_cols, 4);
  EXPECT_EQ(Matrix<float>().view().num_cols, 0);
}

TEST(MatrixDeathTest, HasNoNegativeShape) {
  EXPECT_DEATH(Matrix<float>(-1, 4), "CHECK failed: num_rows >= 0");
  EXPECT_DEATH(Matrix<float>(4, -1), "CHECK failed: num_cols >= 0");
}

}  // namespace
}  // namespace conclave
