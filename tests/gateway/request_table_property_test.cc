// Whatever happens to nodes and clients, in whatever order:
//   - every request that was accepted ends exactly once (FakeSink complains otherwise);
//   - what a client heard is the answer's beginning without a gap or an echo, and the whole answer,
//     or all up to its stop string, where it finished;
//   - its text is what decoding all its ids at once gives;
//   - nothing is left over.

#include <gtest/gtest.h>

#include "tests/gateway/table_world.h"
#include "tests/model/tokenizer/tokenizer_test_data.h"

namespace conclave {
namespace {

TEST(RequestTableProperty, ClientsHearTheirAnswersWhateverHappens) {
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(bard_dir());
  ASSERT_NE(tokenizer, nullptr);
  TableCounters sum;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TableWorld world(tokenizer.get(), seed);
    for (int32_t i = 0; i < 600; ++i) world.step();
    world.settle();
    world.check_clients();
    world.check_empty();
    if (testing::Test::HasFailure()) return;
    const TableCounters& counters = world.table().counters();
    sum.num_stop_id += counters.num_stop_id;
    sum.num_stop_string += counters.num_stop_string;
    sum.num_length += counters.num_length;
    sum.num_deadline += counters.num_deadline;
    sum.num_replays += counters.num_replays;
    sum.num_turned_away += counters.num_turned_away;
  }
  // The world is one in which things do happen.
  EXPECT_GT(sum.num_stop_id, 50);
  EXPECT_GT(sum.num_stop_string, 500);
  EXPECT_GT(sum.num_length, 500);
  EXPECT_GT(sum.num_deadline, 500);
  EXPECT_GT(sum.num_replays, 1000);
  EXPECT_GT(sum.num_turned_away, 100);
}

}  // namespace
}  // namespace conclave
