// What counting pages must keep, after any sequence of takes, retains and releases:
//   - a page that is handed out has owners and is handed out to nobody else; a free one has none;
//   - free pages and held pages are all pages;
//   - the last owner's release gives the page back, and no other;
//   - giving back what is not held, or dying with a page out, stops the process.

#include "attention/page_allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace conclave {
namespace {

TEST(PageAllocator, HandsOutEveryPageOnceThenNothing) {
  for (const int32_t num_pages : {1, 2, 33, 256}) {
    PageAllocator pages(num_pages);
    EXPECT_EQ(pages.num_pages(), num_pages);
    EXPECT_EQ(pages.num_free(), num_pages);
    std::set<int32_t> taken;
    for (int32_t i = 0; i < num_pages; ++i) {
      const auto page = pages.take();
      ASSERT_TRUE(page.has_value());
      EXPECT_GE(*page, 0);
      EXPECT_LT(*page, num_pages);
      EXPECT_TRUE(taken.insert(*page).second) << "page " << *page << " twice";
    }
    EXPECT_EQ(pages.num_free(), 0);
    EXPECT_FALSE(pages.take().has_value());
    for (const int32_t page : taken) pages.release(page);
    EXPECT_EQ(pages.num_free(), num_pages);
  }
}

TEST(PageAllocator, TheLastOwnerGivesThePageBack) {
  PageAllocator pages(2);
  const int32_t page = *pages.take();
  pages.retain(page);
  pages.retain(page);
  EXPECT_EQ(pages.num_owners(page), 3);
  pages.release(page);
  pages.release(page);
  EXPECT_EQ(pages.num_owners(page), 1);
  EXPECT_EQ(pages.num_free(), 1);
  pages.release(page);
  EXPECT_EQ(pages.num_owners(page), 0);
  EXPECT_EQ(pages.num_free(), 2);
}

TEST(PageAllocator, ThePageFreedLastIsTakenFirst) {
  PageAllocator pages(8);
  const int32_t a = *pages.take();
  const int32_t b = *pages.take();
  pages.release(b);
  pages.release(a);
  EXPECT_EQ(pages.take(), a);
  EXPECT_EQ(pages.take(), b);
  pages.release(a);
  pages.release(b);
}

// Beside the allocator walks the simplest thing that could be right: a map of owners.
class PageAllocatorPropertyTest : public testing::TestWithParam<uint32_t> {
 protected:
  static constexpr int32_t kNumPages = 13;

  void take() {
    const auto page = pages_.take();
    ASSERT_EQ(page.has_value(), owners_.size() < kNumPages);
    if (!page) return;
    ASSERT_TRUE(owners_.emplace(*page, 1).second) << "page " << *page << " was held";
  }

  int32_t random_held() {
    auto held = owners_.begin();
    std::advance(held, static_cast<std::ptrdiff_t>(rng_() % owners_.size()));
    return held->first;
  }

  void release(int32_t page) {
    pages_.release(page);
    if (--owners_[page] == 0) owners_.erase(page);
  }

  void expect_model() const {
    ASSERT_EQ(pages_.num_free(), kNumPages - static_cast<int32_t>(owners_.size()));
    for (int32_t page = 0; page < kNumPages; ++page) {
      const auto held = owners_.find(page);
      ASSERT_EQ(pages_.num_owners(page), held == owners_.end() ? 0 : held->second);
    }
  }

  std::mt19937 rng_{GetParam()};
  PageAllocator pages_{kNumPages};
  std::map<int32_t, int32_t> owners_;  // page -> owners, held pages only
};

TEST_P(PageAllocatorPropertyTest, CountsLikeTheModel) {
  for (int i = 0; i < 5'000; ++i) {
    const uint32_t dice = static_cast<uint32_t>(rng_()) % 10;
    if (dice < 4 || owners_.empty()) {
      take();
    } else if (dice < 6) {
      const int32_t page = random_held();
      pages_.retain(page);
      ++owners_[page];
    } else {
      release(random_held());
    }
    expect_model();
    if (HasFatalFailure()) break;
  }
  while (!owners_.empty()) release(owners_.begin()->first);
  expect_model();
}

INSTANTIATE_TEST_SUITE_P(Seeds, PageAllocatorPropertyTest, testing::Range(1u, 5u));

void die_with_a_page_out() {
  PageAllocator pages(3);
  static_cast<void>(pages.take());
}

void release_twice() {
  PageAllocator pages(3);
  const int32_t page = *pages.take();
  pages.release(page);
  pages.release(page);
}

void retain_a_free_page() {
  PageAllocator pages(3);
  pages.retain(1);
}

TEST(PageAllocatorDeathTest, ItsMistakesStopTheProcess) {
  EXPECT_DEATH(die_with_a_page_out(), "num_free\\(\\) == num_pages\\(\\)");
  EXPECT_DEATH(release_twice(), "num_owners\\(page\\) > 0");
  EXPECT_DEATH(retain_a_free_page(), "num_owners\\(page\\) > 0");
  EXPECT_DEATH(PageAllocator(0), "num_pages >= 1");
  PageAllocator pages(3);
  EXPECT_DEATH(pages.release(3), "page < num_pages");
  EXPECT_DEATH(pages.release(-1), "page >= 0");
}

}  // namespace
}  // namespace conclave
