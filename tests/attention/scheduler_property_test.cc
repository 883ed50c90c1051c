// What the scheduler must keep over thousands of steps with random arrivals, ends and cancellations
// and a cache that holds only a few sequences:
//   - a step never exceeds its budget, a part never the chunk, and every id in a part has room;
//   - whoever decodes and still runs is in the step; prompts wait only for a budget that is used
//   up;
//   - nobody who was admitted goes behind somebody who still waits;
//   - nobody who was preempted goes before somebody who was let run on, and it starts from nothing;
//   - pages add up after every step, and in the end all are home;
//   - while there is anybody there is a step, and everybody ends.

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/attention/scheduler_driver.h"

namespace conclave {
namespace {

struct Case {
  uint32_t seed = 0;
  SchedulerDriver::Options options;
};

class SchedulerPropertyTest : public testing::TestWithParam<Case> {
 protected:
  struct Before {
    bool runs = false;
    bool decodes = false;
    int32_t num_left = 0;  // ids to compute
  };

  bool one_in(uint32_t n) { return rng_() % n == 0; }
  int32_t below(int32_t n) { return static_cast<int32_t>(rng_() % static_cast<uint32_t>(n)); }
  int32_t cache_tokens() const { return options_.num_pages * SchedulerDriver::kPageTokens; }

  // A sequence of any length that the whole cache holds. Most are short.
  void arrive() {
    const int32_t id = next_id_++;
    const int32_t length = 1 + below(one_in(4) ? cache_tokens() : cache_tokens() / 4);
    const int32_t num_prompt = 1 + below(length);
    driver_.add({.id = id, .priority = below(3), .num_prompt = num_prompt});
    length_[id] = length;
  }

  void cancel_somebody() {
    if (length_.empty()) return;
    auto victim = length_.begin();
    std::advance(victim, below(static_cast<int32_t>(length_.size())));
    driver_.finish(victim->first);
    length_.erase(victim);
  }

  std::map<int32_t, Before> look() const {
    std::map<int32_t, Before> before;
    for (const auto& [id, sequence] : driver_.sequences()) {
      before[id] = {.runs = !driver_.is_waiting(id),
                    .decodes = sequence->decodes(),
                    .num_left = sequence->num_ids() - sequence->num_computed};
    }
    return before;
  }

  bool goes_before(int32_t a, int32_t b) const {
    const Sequence& first = driver_.sequence(a);
    const Sequence& second = driver_.sequence(b);
    if (first.request.priority != second.request.priority) {
      return first.request.priority > second.request.priority;
    }
    if (first.request.generated.empty() != second.request.generated.empty()) {
      return second.request.generated.empty();
    }
    return first.arrival < second.arrival;
  }

  void step_and_check() {
    const std::map<int32_t, Before> before = look();
    std::map<int32_t, int32_t> computed;
    int32_t num_tokens = 0;
    int32_t num_of_prompts = 0;
    for (const PartSummary& part : driver_.step()) {
      ASSERT_TRUE(computed.emplace(part.id, part.count).second) << "twice in a step";
      ASSERT_FALSE(driver_.is_waiting(part.id));
      num_tokens += part.count;
      if (!before.at(part.id).decodes) num_of_prompts += part.count;
    }
    ASSERT_LE(num_tokens, options_.step_tokens);
    ASSERT_LE(num_of_prompts, options_.prefill_chunk);
    const bool is_full =
        num_tokens == options_.step_tokens || num_of_prompts == options_.prefill_chunk;
    ASSERT_GT(num_tokens, 0) << "nothing to do for " << before.size() << " sequences";
    for (const auto& [id, was] : before) {
      if (driver_.is_waiting(id)) {
        expect_rightly_waiting(id, was, before);
      } else if (was.runs) {
        expect_served(was, computed.contains(id) ? computed[id] : 0, is_full);
      } else {
        ASSERT_TRUE(computed.contains(id)) << "admitted for nothing";
      }
    }
    end_the_complete();
  }

  void expect_rightly_waiting(int32_t id, const Before& was,
                              const std::map<int32_t, Before>& before) const {
    ASSERT_EQ(driver_.sequence(id).num_computed, 0);
    for (const auto& [other, other_was] : before) {
      if (driver_.is_waiting(other)) continue;
      const bool admitted = !other_was.runs;
      if (!admitted && !was.runs) continue;  // ran before, and still does
      ASSERT_TRUE(goes_before(other, id)) << (admitted ? "overtook " : "was spared before ") << id;
    }
  }

  void expect_served(const Before& was, int32_t count, bool is_full) const {
    if (was.decodes) {
      ASSERT_EQ(count, 1);
    } else if (count < was.num_left) {
      ASSERT_TRUE(is_full) << "a prompt waits, the budget is not used up";
    }
  }

  // As the engine does it: the last id is said and not computed.
  void end_the_complete() {
    for (auto entry = length_.begin(); entry != length_.end();) {
      if (driver_.sequence(entry->first).num_ids() <= entry->second) {
        ++entry;
        continue;
      }
      driver_.finish(entry->first);
      entry = length_.erase(entry);
    }
  }

  const SchedulerDriver::Options options_ = GetParam().options;
  std::mt19937 rng_{GetParam().seed};
  SchedulerDriver driver_{options_};
  std::map<int32_t, int32_t> length_;  // id -> ids at which it ends
  int32_t next_id_ = 0;
};

TEST_P(SchedulerPropertyTest, KeepsItsPromises) {
  for (int i = 0; i < 4'000 && !HasFatalFailure(); ++i) {
    if (length_.size() < 12 && one_in(3)) arrive();
    if (one_in(40)) cancel_somebody();
    if (!length_.empty()) step_and_check();
  }
  EXPECT_GT(driver_.num_preemptions(), 20) << "the cache was meant to be too small";
  for (int i = 0; i < 10'000 && !length_.empty() && !HasFatalFailure(); ++i) step_and_check();
  EXPECT_TRUE(length_.empty()) << length_.size() << " never ended";
  EXPECT_EQ(driver_.num_free_pages(), options_.num_pages);
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    const auto add = [&](SchedulerDriver::Options options) { cases.push_back({seed, options}); };
    add({.num_pages = 5, .step_tokens = 8, .prefill_chunk = 8, .max_running = 8});
    add({.num_pages = 9, .step_tokens = 7, .prefill_chunk = 3, .max_running = 5});
    add({.num_pages = 16, .step_tokens = 512, .prefill_chunk = 512, .max_running = 64});
    add({.num_pages = 12, .step_tokens = 12, .prefill_chunk = 1, .max_running = 12});
    add({.num_pages = 7, .step_tokens = 4, .prefill_chunk = 64, .max_running = 4});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Schedules, SchedulerPropertyTest, testing::ValuesIn(all_cases()));

}  // namespace
}  // namespace conclave
