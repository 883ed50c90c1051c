// What the latent cache must keep:
//   - slot(pos) = pages[pos / B] * B + pos % B, and no two tokens that live share a slot;
//   - reserve() is all or nothing, release() gives every page back;
//   - a row is read back as it was rounded to the cache's type, whatever was written around it;
//   - a page that nobody or more than one holds is not written;
//   - a cache that cannot be had is RESOURCE_EXHAUSTED, not a crash.

#include "attention/latent_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "kernels/row_codec.h"

namespace conclave {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kAllocatorDies = true;
#else
constexpr bool kAllocatorDies = false;
#endif

constexpr int32_t kPageTokens = 4;
constexpr int32_t kRowCols = 6;

std::unique_ptr<LatentCache> make_cache(int32_t num_pages, DType dtype = DType::kF32) {
  auto cache = LatentCache::create({.num_layers = 3,
                                    .row_cols = kRowCols,
                                    .page_tokens = kPageTokens,
                                    .num_pages = num_pages,
                                    .dtype = dtype});
  CHECK(cache.ok());
  return *std::move(cache);
}

TEST(LatentCache, ReservesWholePages) {
  const auto cache = make_cache(5);
  PageTable table;
  ASSERT_TRUE(cache->reserve(&table, 0).ok());
  EXPECT_TRUE(table.pages.empty());
  const int32_t pages_of[] = {0, 1, 1, 1, 1, 2, 2, 2, 2, 3};
  for (int32_t tokens = 1; tokens <= 9; ++tokens) {
    ASSERT_TRUE(cache->reserve(&table, tokens).ok());
    EXPECT_EQ(table.num_tokens, tokens);
    EXPECT_EQ(static_cast<int32_t>(table.pages.size()), pages_of[tokens]);
    EXPECT_EQ(cache->pages_for(tokens), pages_of[tokens]);
    EXPECT_EQ(cache->num_free_pages(), 5 - pages_of[tokens]);
  }
  cache->release(&table);
  EXPECT_EQ(cache->num_free_pages(), 5);
  EXPECT_EQ(table.num_tokens, 0);
  EXPECT_TRUE(table.pages.empty());
  cache->release(&table);  // nothing left to give
}

TEST(LatentCache, ReserveIsAllOrNothing) {
  const auto cache = make_cache(5);
  PageTable first;
  PageTable second;
  ASSERT_TRUE(cache->reserve(&first, 9).ok());   // 3 pages
  ASSERT_TRUE(cache->reserve(&second, 3).ok());  // 1 page
  const PageTable before = second;
  EXPECT_TRUE(absl::IsResourceExhausted(cache->reserve(&second, 9)));
  EXPECT_EQ(second.pages, before.pages);
  EXPECT_EQ(second.num_tokens, before.num_tokens);
  EXPECT_EQ(cache->num_free_pages(), 1);
  EXPECT_TRUE(
      absl::IsResourceExhausted(cache->reserve(&second, std::numeric_limits<int32_t>::max())));
  EXPECT_TRUE(cache->reserve(&second, 8).ok());
  EXPECT_EQ(cache->num_free_pages(), 0);
  cache->release(&first);
  cache->release(&second);
}

TEST(LatentCache, SlotsFollowThePageTable) {
  const auto cache = make_cache(4);
  PageTable first;
  PageTable second;
  std::set<int32_t> slots;
  for (int32_t tokens = 1; tokens <= 8; ++tokens) {  // their pages alternate
    for (PageTable* const table : {&first, &second}) {
      ASSERT_TRUE(cache->reserve(table, tokens).ok());
      const int32_t slot = cache->slot(*table, tokens - 1);
      EXPECT_EQ(slot, table->pages[(tokens - 1) / 4] * 4 + (tokens - 1) % 4);
      EXPECT_TRUE(slots.insert(slot).second) << "slot " << slot << " twice";
    }
  }
  EXPECT_EQ(slots.size(), 16u);
  cache->release(&first);
  cache->release(&second);
}

Matrix<float> random_rows(int32_t num_rows, std::mt19937* rng) {
  std::normal_distribution<float> normal;
  Matrix<float> rows(num_rows, kRowCols);
  for (int32_t i = 0; i < num_rows; ++i) {
    for (int32_t c = 0; c < kRowCols; ++c) rows.row(i)[c] = normal(*rng);
  }
  return rows;
}

class LatentCacheRoundTripTest : public testing::TestWithParam<DType> {
 protected:
  std::vector<float> read(const LatentCache& cache, int32_t layer_idx, int32_t slot) const {
    const LatentRows layer = cache.layer(layer_idx);
    EXPECT_EQ(layer.dtype, GetParam());
    EXPECT_EQ(layer.num_cols, kRowCols);
    const size_t row_bytes = kRowCols * static_cast<size_t>(dtype_bytes(layer.dtype));
    std::vector<float> row(kRowCols);
    unpack_rows(static_cast<const std::byte*>(layer.data) + row_bytes * static_cast<size_t>(slot),
                layer.dtype, {row.data(), 1, kRowCols, kRowCols});
    return row;
  }

  std::vector<float> rounded(const float* row) const {
    std::vector<float> out(row, row + kRowCols);
    if (GetParam() == DType::kBF16) {
      for (float& value : out) value = to_f32(to_bf16(value));
    }
    return out;
  }
};

TEST_P(LatentCacheRoundTripTest, RowsComeBackAsRounded) {
  std::mt19937 rng(3);
  const auto cache = make_cache(5, GetParam());
  PageTable tables[2];
  std::map<std::pair<int32_t, int32_t>, std::vector<float>> expected;  // (layer, slot) -> row
  for (int32_t tokens = 3; tokens <= 9; tokens += 3) {  // chunks that end inside pages
    for (PageTable& table : tables) {
      if (!cache->reserve(&table, tokens).ok()) continue;
      std::vector<int32_t> slots;
      for (int32_t pos = tokens - 3; pos < tokens; ++pos) slots.push_back(cache->slot(table, pos));
      for (int32_t layer = 0; layer < 3; ++layer) {
        Matrix<float> rows = random_rows(3, &rng);
        cache->write(layer, slots, rows.view());
        for (int32_t i = 0; i < 3; ++i) expected[{layer, slots[i]}] = rounded(rows.row(i));
      }
    }
  }
  EXPECT_EQ(expected.size(), 3u * (9 + 6));
  for (const auto& [place, row] : expected) {
    EXPECT_EQ(read(*cache, place.first, place.second), row)
        << "layer " << place.first << " slot " << place.second;
  }
  for (PageTable& table : tables) cache->release(&table);
}

TEST_P(LatentCacheRoundTripTest, RowsMayBeAWideMatrixsColumns) {
  const auto cache = make_cache(1, GetParam());
  PageTable table;
  ASSERT_TRUE(cache->reserve(&table, 2).ok());
  Matrix<float> wide(2, kRowCols + 5);
  for (int32_t c = 0; c < kRowCols; ++c) wide.row(1)[3 + c] = static_cast<float>(c);
  const std::vector<int32_t> slots = {cache->slot(table, 0), cache->slot(table, 1)};
  cache->write(2, slots, wide.view().cols(3, kRowCols));
  EXPECT_EQ(read(*cache, 2, slots[1]), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  cache->write(2, {}, wide.view().rows(0, 0).cols(0, kRowCols));
  cache->release(&table);
}

INSTANTIATE_TEST_SUITE_P(Types, LatentCacheRoundTripTest,
                         testing::Values(DType::kF32, DType::kBF16));

TEST(LatentCache, BytesPerTokenAreDeepSeekV3s) {
  EXPECT_EQ(LatentCache::bytes_per_token({.num_layers = 61, .row_cols = 576}), 70'272u);
}

// More slots than an int32 counts, more bytes than a uint64 counts.
TEST(LatentCache, AbsurdSizesAreResourceExhausted) {
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
  const LatentCache::Options absurd[] = {
      {.num_layers = 1, .row_cols = 1, .page_tokens = 64, .num_pages = kMax},
      {.num_layers = kMax, .row_cols = kMax, .page_tokens = 64, .num_pages = 1 << 24},
  };
  for (const LatentCache::Options& options : absurd) {
    const auto cache = LatentCache::create(options);
    EXPECT_TRUE(absl::IsResourceExhausted(cache.status())) << cache.status();
  }
}

TEST(LatentCache, MoreThanThereIsIsResourceExhausted) {
  if (kAllocatorDies) GTEST_SKIP() << "a sanitizer's calloc() stops the process instead";
  const auto cache = LatentCache::create(
      {.num_layers = 1 << 15, .row_cols = 1 << 15, .page_tokens = 64, .num_pages = 1 << 24});
  EXPECT_TRUE(absl::IsResourceExhausted(cache.status())) << cache.status();
}

TEST(LatentCacheDeathTest, AWriteToAPageThatIsNotOnesOwnDies) {
  const auto cache = make_cache(2);
  PageTable table;
  ASSERT_TRUE(cache->reserve(&table, 1).ok());
  const Matrix<float> row(1, kRowCols);
  const std::vector<int32_t> freed = {cache->slot(table, 0)};
  cache->release(&table);
  EXPECT_DEATH(cache->write(0, freed, row.view()), "num_owners");
}

TEST(LatentCacheDeathTest, SlotsAndLayersOutsideDie) {
  const auto cache = make_cache(1);
  PageTable table;
  ASSERT_TRUE(cache->reserve(&table, 4).ok());
  const Matrix<float> row(1, kRowCols);
  for (const int32_t slot : {-1, 4, 1 << 20}) {
    const std::vector<int32_t> slots = {slot};
    EXPECT_DEATH(cache->write(0, slots, row.view()), "CHECK failed") << slot;
  }
  const std::vector<int32_t> slots = {0};
  EXPECT_DEATH(cache->write(3, slots, row.view()), "layer_idx");
  EXPECT_DEATH(cache->write(0, {}, row.view()), "num_rows");
  EXPECT_DEATH(cache->write(0, slots, row.view().cols(1, 2)), "num_cols");
  EXPECT_DEATH(cache->slot(table, 4), "position");
  EXPECT_DEATH(static_cast<void>(cache->reserve(&table, 3)), "num_tokens");
  cache->release(&table);
}

}  // namespace
}  // namespace conclave
