// A request that may be what kills its nodes is not given to all of them; one whose lines break, or
// whose nodes go after they have said something, is.

#include <gmock/gmock.h>

#include "tests/gateway/table_test.h"

namespace conclave {
namespace {

using testing::HasSubstr;

using DeadlyRequestTest = TableTest;

TEST_F(DeadlyRequestTest, ARequestThatNodesAreLostWithIsGivenUp) {
  nodes({node_info(0)});
  FakeSink* const sink = submit(ask("r", 4));
  say({5});
  for (int32_t i = 0; i < 4; ++i) {
    EXPECT_FALSE(sink->ended()) << i;
    EXPECT_EQ(last_node(), ServerId{i});
    if (i % 2 == 0) break_run(link_.last);  // the line breaks first, or control knows first
    nodes({node_info(i + 1)});
    advance(absl::Minutes(1));
  }
  EXPECT_EQ(sink->code(), absl::StatusCode::kInternal);
  EXPECT_THAT(sink->message(), HasSubstr("4 attention nodes were lost"));
  EXPECT_EQ(table_->num_queued() + table_->num_assigned(), 0);
}

TEST_F(DeadlyRequestTest, AnIdOrANodeThatStaysIsNobodysDeath) {
  nodes({node_info(0), node_info(100)});
  FakeSink* const sink = submit(ask("r", 50));
  for (int32_t i = 0; i < 12; ++i) {  // lines break, but nodes stay
    break_run(link_.last);
    advance(absl::Minutes(1));
  }
  EXPECT_FALSE(sink->ended());
  for (int32_t i = 1; i < 10; ++i) {  // nodes go, but each has said something
    nodes({node_info(i)});
    advance(absl::Minutes(1));
    say({5});
  }
  EXPECT_FALSE(sink->ended());
  EXPECT_EQ(table_->num_assigned(), 1);
}

}  // namespace
}  // namespace conclave
