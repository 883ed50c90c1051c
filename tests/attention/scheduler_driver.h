// Plays the engine to a scheduler: owns the sequences, books what a step computed, and gives every
// sequence that reached its end one more id. Pages hold four tokens. After each step the accounts
// of sequences and cache are held against each other.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <ostream>
#include <set>
#include <vector>

#include "attention/scheduler.h"

namespace conclave {

struct PartSummary {
  int32_t id = 0;
  int32_t first = 0;
  int32_t count = 0;

  bool operator==(const PartSummary&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const PartSummary& part) {
  return out << "{" << part.id << ", " << part.first << ", " << part.count << "}";
}

class SchedulerDriver {
 public:
  static constexpr int32_t kPageTokens = 4;

  struct Options {
    int32_t num_pages = 0;
    int32_t step_tokens = 512;
    int32_t prefill_chunk = 512;
    int32_t max_running = 4;
  };

  struct NewSequence {
    int32_t id = 0;
    int32_t priority = 0;
    int32_t num_prompt = 1;
    int32_t num_generated = 0;  // elsewhere, before
  };

  explicit SchedulerDriver(const Options& options)
      : options_(options),
        cache_(*LatentCache::create({.num_layers = 1,
                                     .row_cols = 1,
                                     .page_tokens = kPageTokens,
                                     .num_pages = options.num_pages})),
        scheduler_({.step_tokens = options.step_tokens,
                    .prefill_chunk = options.prefill_chunk,
                    .max_running = options.max_running},
                   cache_.get()) {}

  ~SchedulerDriver() {
    while (!sequences_.empty()) finish(sequences_.begin()->first);
  }

  void add(const NewSequence& wish) {
    auto sequence = std::make_unique<Sequence>();
    sequence->request.prompt.resize(wish.num_prompt);
    sequence->request.priority = wish.priority;
    sequence->request.generated.resize(wish.num_generated);
    sequence->ids.resize(wish.num_prompt + wish.num_generated);
    sequence->arrival = num_arrivals_++;
    scheduler_.add(sequence.get());
    CHECK(sequences_.emplace(wish.id, std::move(sequence)).second);
  }

  void finish(int32_t id) {
    scheduler_.remove(sequences_.at(id).get());
    sequences_.erase(id);
  }

  // One step: what was planned, after it was booked.
  std::vector<PartSummary> step() {
    std::vector<PartSummary> summary;
    for (const StepPart& part : scheduler_.next_step()) {
      summary.push_back({id_of(part.sequence), part.first, part.count});
      const bool reaches_end = part.reaches_end();
      expect_sound(part);
      part.sequence->num_computed = part.first + part.count;
      if (reaches_end) part.sequence->ids.push_back(0);
    }
    expect_accounts_agree();
    return summary;
  }

  // Holds the cache's count against the sequences' tables.
  void expect_accounts_agree() const {
    std::set<int32_t> held;
    int32_t num_with_pages = 0;
    for (const auto& [id, sequence] : sequences_) {
      const PageTable& table = sequence->table;
      num_with_pages += table.pages.empty() ? 0 : 1;
      ASSERT_EQ(static_cast<int32_t>(table.pages.size()), cache_->pages_for(table.num_tokens));
      for (const int32_t page : table.pages) {
        ASSERT_TRUE(held.insert(page).second) << "page " << page << " has two owners";
      }
      ASSERT_LE(sequence->num_computed, table.num_tokens);
    }
    ASSERT_EQ(cache_->num_free_pages(), options_.num_pages - static_cast<int32_t>(held.size()));
    ASSERT_EQ(scheduler_.num_running(), num_with_pages);
    ASSERT_EQ(scheduler_.num_waiting() + scheduler_.num_running(),
              static_cast<int32_t>(sequences_.size()));
  }

  bool is_waiting(int32_t id) const { return sequences_.at(id)->table.pages.empty(); }
  bool has(int32_t id) const { return sequences_.contains(id); }
  const Sequence& sequence(int32_t id) const { return *sequences_.at(id); }
  const std::map<int32_t, std::unique_ptr<Sequence>>& sequences() const { return sequences_; }
  int32_t num_free_pages() const { return cache_->num_free_pages(); }
  int64_t num_preemptions() const { return scheduler_.num_preemptions(); }

 private:
  // The part goes on where the sequence stands and has room for all of its tokens.
  static void expect_sound(const StepPart& part) {
    EXPECT_GE(part.count, 1);
    EXPECT_EQ(part.first, part.sequence->num_computed);
    EXPECT_LE(part.first + part.count, part.sequence->num_ids());
    EXPECT_GE(part.sequence->table.num_tokens, part.first + part.count);
  }

  int32_t id_of(const Sequence* sequence) const {
    for (const auto& [id, owned] : sequences_) {
      if (owned.get() == sequence) return id;
    }
    ADD_FAILURE() << "a part of nobody's";
    return -1;
  }

  const Options options_;
  const std::unique_ptr<LatentCache> cache_;
  Scheduler scheduler_;
  std::map<int32_t, std::unique_ptr<Sequence>> sequences_;
  uint64_t num_arrivals_ = 0;
};

}  // namespace conclave
