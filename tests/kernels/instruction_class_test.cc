// What the choice of instructions must keep:
//   - what is in use is supported, and the best is the default;
//   - forcing a class is seen by every later call, and asking for one that is not there changes
//   nothing.

#include "kernels/instruction_class.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/matmul.h"
#include "tests/kernels/kernel_test.h"

namespace conclave {
namespace {

TEST(InstructionClassTest, TheBestIsTheDefault) {
  ASSERT_TRUE(check_instruction_class().ok());
  ASSERT_FALSE(supported_instruction_classes().empty());
  EXPECT_EQ(instruction_class(), supported_instruction_classes().front());
}

TEST(InstructionClassTest, Names) {
  EXPECT_EQ(instruction_class_name(InstructionClass::kAvx2), "avx2");
  EXPECT_EQ(instruction_class_name(InstructionClass::kAvx512), "avx512");
}

TEST(InstructionClassTest, ForcingIsSeen) {
  const std::vector<InstructionClass> classes = every_class();
  for (const InstructionClass forced : classes) {
    ASSERT_TRUE(set_instruction_class(forced).ok());
    EXPECT_EQ(instruction_class(), forced);
    EXPECT_TRUE(std::ranges::equal(supported_instruction_classes(), classes));
  }
  ASSERT_TRUE(set_instruction_class(classes.front()).ok());
}

TEST(InstructionClassTest, WhatTheCpuLacksIsRefused) {
  for (const auto wanted : {InstructionClass::kAvx2, InstructionClass::kAvx512}) {
    if (std::ranges::count(supported_instruction_classes(), wanted) > 0) continue;
    const InstructionClass before = instruction_class();
    EXPECT_EQ(set_instruction_class(wanted).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(instruction_class(), before);
  }
}

TEST(InstructionClassTest, AFlagsWordChooses) {
  const InstructionClass before = instruction_class();
  ASSERT_TRUE(choose_instruction_class("auto").ok());
  EXPECT_EQ(instruction_class(), before);
  ASSERT_TRUE(choose_instruction_class(instruction_class_name(before)).ok());
  EXPECT_EQ(instruction_class(), before);
  EXPECT_EQ(choose_instruction_class("sse2").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(choose_instruction_class("").code(), absl::StatusCode::kInvalidArgument);
}

// The classes are profiles of their own: the order of a long sum, and so its bits, are different.
TEST(InstructionClassTest, ClassesReallyDiffer) {
  if (every_class().size() < 2) GTEST_SKIP() << "one class only";
  const TestWeight w({.num_rows = 64, .num_cols = 1000, .dtype = DType::kF32}, 1);
  const Matrix<float> x = random_matrix(1, 1000, 2);
  std::vector<Matrix<float>> results;
  for (const InstructionClass forced : every_class()) {
    ASSERT_TRUE(set_instruction_class(forced).ok());
    results.emplace_back(1, 64);
    matmul({x.view(), w.view(), results.back().view()}, inline_executor());
  }
  ASSERT_TRUE(set_instruction_class(every_class().front()).ok());
  EXPECT_FALSE(same_bits(results[0].row(0), results[1].row(0), 64));
}

}  // namespace
}  // namespace conclave
