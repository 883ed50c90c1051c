// What the two macros must keep: the first error leaves the function unchanged, what follows it
// does not run, every expression is evaluated once, and a value is moved, never copied.

#include "common/status_macros.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

namespace conclave {
namespace {

absl::Status fail(const std::string& message) { return absl::DataLossError(message); }

TEST(StatusMacrosTest, ReturnIfErrorLeavesAtTheFirstError) {
  int num_reached = 0;
  const auto leave = [&]() -> absl::Status {
    RETURN_IF_ERROR(absl::OkStatus());
    ++num_reached;
    RETURN_IF_ERROR(fail("first"));
    ++num_reached;
    RETURN_IF_ERROR(fail("second"));
    return absl::OkStatus();
  };
  EXPECT_EQ(leave(), fail("first"));
  EXPECT_EQ(num_reached, 1);
}

TEST(StatusMacrosTest, ReturnIfErrorEvaluatesOnce) {
  int num_calls = 0;
  const auto call = [&] {
    ++num_calls;
    return absl::OkStatus();
  };
  const auto run = [&]() -> absl::Status {
    if (num_calls == 0) RETURN_IF_ERROR(call());  // one statement, also without braces
    return absl::OkStatus();
  };
  EXPECT_TRUE(run().ok());
  EXPECT_EQ(num_calls, 1);
}

absl::StatusOr<std::unique_ptr<int>> make(int value) {
  if (value < 0) return fail("negative");
  return std::make_unique<int>(value);
}

absl::StatusOr<int> add(int a, int b) {
  ASSIGN_OR_RETURN(std::unique_ptr<int> first, make(a));
  ASSIGN_OR_RETURN(const std::unique_ptr<int> second, make(b));
  return *first + *second;
}

TEST(StatusMacrosTest, AssignOrReturnMovesTheValueOut) { EXPECT_EQ(*add(2, 3), 5); }

TEST(StatusMacrosTest, AssignOrReturnLeavesWithTheError) {
  EXPECT_EQ(add(-1, 3).status(), fail("negative"));
  EXPECT_EQ(add(2, -1).status(), fail("negative"));
}

TEST(StatusMacrosTest, AssignOrReturnAssignsToWhatIsThere) {
  const auto last = []() -> absl::StatusOr<int> {
    std::unique_ptr<int> value;
    ASSIGN_OR_RETURN(value, make(1));
    ASSIGN_OR_RETURN(value, make(2));
    return *value;
  };
  EXPECT_EQ(*last(), 2);
}

}  // namespace
}  // namespace conclave
