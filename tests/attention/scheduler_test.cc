// What the scheduler must decide:
//   - decodes first, one token each; prompts in chunks with what is left of the budget;
//   - higher priority first, then the order of arrival, and nobody overtakes who waits for room;
//   - without a free page the youngest of the lowest priority gives up all of its pages and is
//   computed
//     again from its first id;
//   - a sequence that leaves takes its pages home.
// scheduler_property_test.cc holds the invariants over thousands of random steps.

#include "attention/scheduler.h"

#include <gtest/gtest.h>

#include "tests/attention/scheduler_driver.h"

namespace conclave {
namespace {

using Parts = std::vector<PartSummary>;

TEST(Scheduler, NothingToDoIsAnEmptyStep) {
  SchedulerDriver driver({.num_pages = 4});
  EXPECT_EQ(driver.step(), Parts{});
}

TEST(Scheduler, CutsAPromptIntoChunks) {
  SchedulerDriver driver({.num_pages = 8, .step_tokens = 16, .prefill_chunk = 3});
  driver.add({.id = 1, .num_prompt = 8});
  EXPECT_EQ(driver.step(), (Parts{{1, 0, 3}}));
  EXPECT_EQ(driver.step(), (Parts{{1, 3, 3}}));
  EXPECT_EQ(driver.step(), (Parts{{1, 6, 2}}));
  EXPECT_EQ(driver.step(), (Parts{{1, 8, 1}}));
  EXPECT_EQ(driver.step(), (Parts{{1, 9, 1}}));
}

TEST(Scheduler, SharesTheBudgetInOrderOfArrival) {
  SchedulerDriver driver({.num_pages = 16, .step_tokens = 10, .prefill_chunk = 6});
  driver.add({.id = 1, .num_prompt = 8});
  driver.add({.id = 2, .num_prompt = 5});
  driver.add({.id = 3, .num_prompt = 5});
  EXPECT_EQ(driver.step(), (Parts{{1, 0, 6}}));
  EXPECT_EQ(driver.step(), (Parts{{1, 6, 2}, {2, 0, 4}}));
  EXPECT_EQ(driver.step(), (Parts{{1, 8, 1}, {2, 4, 1}, {3, 0, 5}}));
  EXPECT_EQ(driver.step(), (Parts{{1, 9, 1}, {2, 5, 1}, {3, 5, 1}}));
}

TEST(Scheduler, DecodesComeBeforePrompts) {
  SchedulerDriver driver({.num_pages = 16, .step_tokens = 4, .prefill_chunk = 4});
  driver.add({.id = 1, .num_prompt = 1});
  driver.step();
  driver.add({.id = 2, .priority = 5, .num_prompt = 9});
  EXPECT_EQ(driver.step(), (Parts{{1, 1, 1}, {2, 0, 3}}));
  EXPECT_EQ(driver.step(), (Parts{{1, 2, 1}, {2, 3, 3}}));
}

TEST(Scheduler, PriorityThenArrival) {
  SchedulerDriver driver({.num_pages = 16, .step_tokens = 16, .max_running = 2});
  driver.add({.id = 1, .num_prompt = 1});
  driver.add({.id = 2, .priority = -1, .num_prompt = 1});
  driver.add({.id = 3, .priority = 7, .num_prompt = 1});
  driver.add({.id = 4, .num_prompt = 1});
  EXPECT_EQ(driver.step(), (Parts{{3, 0, 1}, {1, 0, 1}}));
  driver.finish(3);
  EXPECT_EQ(driver.step(), (Parts{{1, 1, 1}, {4, 0, 1}}));
  driver.finish(1);
  driver.finish(4);
  EXPECT_EQ(driver.step(), (Parts{{2, 0, 1}}));
}

TEST(Scheduler, WhoGoesOnFromElsewhereIsBeforeNewOnes) {
  SchedulerDriver driver({.num_pages = 16, .step_tokens = 4, .prefill_chunk = 4});
  driver.add({.id = 1, .num_prompt = 3});
  driver.add({.id = 2, .num_prompt = 3, .num_generated = 4});
  driver.add({.id = 3, .num_prompt = 1, .num_generated = 1});
  driver.add({.id = 4, .priority = 1, .num_prompt = 2});
  EXPECT_EQ(driver.step(), (Parts{{4, 0, 2}, {2, 0, 2}}));
  EXPECT_EQ(driver.step(), (Parts{{4, 2, 1}, {2, 2, 3}}));
  EXPECT_EQ(driver.step(), (Parts{{4, 3, 1}, {2, 5, 2}, {3, 0, 1}}));
}

// Pages of 4 tokens. Request 2 needs three pages, two are free; request 3 would fit and waits.
TEST(Scheduler, NobodyOvertakes) {
  SchedulerDriver driver({.num_pages = 4});
  driver.add({.id = 1, .num_prompt = 7});
  driver.add({.id = 2, .num_prompt = 8});
  driver.add({.id = 3, .num_prompt = 1});
  EXPECT_EQ(driver.step(), (Parts{{1, 0, 7}}));
  EXPECT_EQ(driver.step(), (Parts{{1, 7, 1}}));
  driver.finish(1);
  EXPECT_EQ(driver.step(), (Parts{{2, 0, 8}, {3, 0, 1}}));
}

TEST(Scheduler, AHigherPriorityIsAdmittedFirstAndTakesNobodysPages) {
  SchedulerDriver driver({.num_pages = 2});
  driver.add({.id = 1, .num_prompt = 5});
  driver.step();
  driver.add({.id = 2, .priority = 9, .num_prompt = 1});
  EXPECT_EQ(driver.step(), (Parts{{1, 5, 1}})) << "waiting preempts nobody";
  driver.finish(1);
  EXPECT_EQ(driver.step(), (Parts{{2, 0, 1}}));
}

// A sequence that fills the whole cache has no room for one id more, and runs alone all the same.
TEST(Scheduler, AloneTheLargestFits) {
  SchedulerDriver driver({.num_pages = 2});
  driver.add({.id = 1, .num_prompt = 8});
  driver.add({.id = 2, .num_prompt = 1});
  EXPECT_EQ(driver.step(), (Parts{{1, 0, 8}}));
  driver.finish(1);
  EXPECT_EQ(driver.step(), (Parts{{2, 0, 1}}));
}

TEST(Scheduler, PreemptsTheYoungestOfTheLowestPriority) {
  SchedulerDriver driver({.num_pages = 4});
  driver.add({.id = 1, .num_prompt = 3});
  driver.add({.id = 2, .priority = 1, .num_prompt = 3});
  driver.add({.id = 3, .num_prompt = 3});
  driver.add({.id = 4, .priority = 1, .num_prompt = 3});
  EXPECT_EQ(driver.step().size(), 4u);
  EXPECT_EQ(driver.step().size(), 4u);  // every page is full now
  EXPECT_EQ(driver.num_preemptions(), 0);

  // 2 takes the page of 3, then 4 takes that of 1.
  EXPECT_EQ(driver.step(), (Parts{{2, 4, 1}, {4, 4, 1}}));
  EXPECT_EQ(driver.num_preemptions(), 2);
  EXPECT_TRUE(driver.is_waiting(1));
  EXPECT_TRUE(driver.is_waiting(3));

  driver.finish(4);
  EXPECT_EQ(driver.step(), (Parts{{2, 5, 1}, {1, 0, 5}})) << "recomputed with what it has said";
  driver.finish(2);
  EXPECT_EQ(driver.step(), (Parts{{1, 5, 1}, {3, 0, 5}}));
}

// Its own page was the last: the youngest needs a page and gives up its own.
TEST(Scheduler, TheYoungestGivesWayToItsElders) {
  SchedulerDriver driver({.num_pages = 3});
  driver.add({.id = 1, .num_prompt = 5});  // two pages
  driver.add({.id = 2, .num_prompt = 3});  // one page
  EXPECT_EQ(driver.step().size(), 2u);
  EXPECT_EQ(driver.step().size(), 2u);
  EXPECT_EQ(driver.step(), (Parts{{1, 6, 1}}));
  EXPECT_TRUE(driver.is_waiting(2));
  EXPECT_EQ(driver.num_preemptions(), 1);
}

TEST(Scheduler, WhoGivesUpItsPagesIsInNoPart) {
  SchedulerDriver driver({.num_pages = 3, .step_tokens = 4, .prefill_chunk = 4});
  driver.add({.id = 1, .num_prompt = 4});
  driver.add({.id = 2, .num_prompt = 3});
  while (driver.num_preemptions() == 0) {
    for (const PartSummary& part : driver.step()) EXPECT_FALSE(driver.is_waiting(part.id));
  }
  EXPECT_TRUE(driver.is_waiting(2));
}

TEST(Scheduler, WhoLeavesTakesItsPagesHome) {
  SchedulerDriver driver({.num_pages = 4, .max_running = 1});
  driver.add({.id = 1, .num_prompt = 6});
  driver.add({.id = 2, .num_prompt = 6});
  driver.step();
  EXPECT_EQ(driver.num_free_pages(), 2);
  driver.finish(2);  // waits
  EXPECT_EQ(driver.num_free_pages(), 2);
  driver.finish(1);  // runs
  EXPECT_EQ(driver.num_free_pages(), 4);
  EXPECT_EQ(driver.step(), Parts{});
}

TEST(SchedulerDeathTest, MoreRunningThanTokensInAStepIsOurMistake) {
  EXPECT_DEATH(SchedulerDriver({.num_pages = 4, .step_tokens = 3, .max_running = 4}),
               "max_running");
  EXPECT_DEATH(SchedulerDriver({.num_pages = 4, .step_tokens = 0}), "step_tokens");
  EXPECT_DEATH(SchedulerDriver({.num_pages = 4, .prefill_chunk = 0}), "prefill_chunk");
}

}  // namespace
}  // namespace conclave
