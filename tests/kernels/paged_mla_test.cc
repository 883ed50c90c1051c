// What attention over pages must keep:
//   - the result is the reference's, within rounding, wherever the last page ends;
//   - which slots a sequence's pages lie in changes no bit;
//   - a token and a head have the same bits alone as among others, on any number of threads;
//   - a bf16 cache gives the bits of an f32 cache of the same numbers.

#include "kernels/paged_mla.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "common/thread_pool.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/kernel_test.h"

namespace conclave {
namespace {

struct Shape {
  int32_t num_heads = 4;
  int32_t latent_cols = 32;  // R
  int32_t rope_cols = 8;     // P
  int32_t page_tokens = 64;  // B
  int32_t num_pages = 5;

  int32_t row_cols() const { return latent_cols + rope_cols; }
};

// A cache of bf16 numbers in both formats, one sequence in shuffled pages of it, and a query for
// every position asked for.
class Scene {
 public:
  Scene(const Shape& shape, std::vector<int32_t> lasts, uint32_t seed)
      : shape_(shape), lasts_(std::move(lasts)) {
    const int32_t num_slots = shape.num_pages * shape.page_tokens;
    rows_f32_ = random_floats(int64_t{num_slots} * shape.row_cols(), seed);
    for (float& value : rows_f32_) {
      rows_bf16_.push_back(to_bf16(value));
      value = to_f32(rows_bf16_.back());
    }
    pages_.resize(static_cast<size_t>(shape.num_pages));
    std::iota(pages_.begin(), pages_.end(), 0);
    std::mt19937 rng(seed);
    std::shuffle(pages_.begin(), pages_.end(), rng);
    const int32_t num_tokens = static_cast<int32_t>(lasts_.size());
    q_ = random_matrix(num_tokens, shape.num_heads * shape.row_cols(), seed + 1);
    for (const int32_t last : lasts_) queries_.push_back({pages_, last});
  }

  // Moves every page somewhere else; the sequence stays the same.
  void shuffle_pages(uint32_t seed) {
    std::vector<int32_t> moved = pages_;
    std::mt19937 rng(seed);
    std::shuffle(moved.begin(), moved.end(), rng);
    const size_t page_size = static_cast<size_t>(shape_.page_tokens * shape_.row_cols());
    const std::vector<float> old_f32 = rows_f32_;
    const std::vector<bf16> old_bf16 = rows_bf16_;
    for (size_t p = 0; p < moved.size(); ++p) {
      const size_t from = static_cast<size_t>(pages_[p]) * page_size;
      const size_t to = static_cast<size_t>(moved[p]) * page_size;
      std::copy_n(&old_f32[from], page_size, &rows_f32_[to]);
      std::copy_n(&old_bf16[from], page_size, &rows_bf16_[to]);
    }
    std::copy(moved.begin(), moved.end(), pages_.begin());  // queries look at pages_
  }

  // Tokens [first, first + count), heads [first_head, first_head + num_heads).
  struct Part {
    DType dtype = DType::kF32;
    int32_t first = 0;
    int32_t count = 0;
    int32_t first_head = 0;
    int32_t num_heads = 0;
  };
  Part whole(DType dtype = DType::kF32) const {
    return {dtype, 0, static_cast<int32_t>(lasts_.size()), 0, shape_.num_heads};
  }

  PagedMlaArgs args(const Part& part, Rows<float> out) const {
    const void* data = rows_f32_.data();
    if (part.dtype == DType::kBF16) data = rows_bf16_.data();
    return {.cache = {data, part.dtype, shape_.row_cols()},
            .queries = std::span(queries_).subspan(static_cast<size_t>(part.first),
                                                   static_cast<size_t>(part.count)),
            .q = q_.view()
                     .rows(part.first, part.count)
                     .cols(part.first_head * shape_.row_cols(), part.num_heads * shape_.row_cols()),
            .out = out,
            .num_heads = part.num_heads,
            .latent_cols = shape_.latent_cols,
            .page_tokens = shape_.page_tokens,
            .softmax_scale = 0.3f};
  }

  Matrix<float> attend(const Part& part, Executor* executor = inline_executor()) const {
    Matrix<float> out(part.count, part.num_heads * shape_.latent_cols);
    paged_mla(args(part, out.view()), executor);
    return out;
  }

  Matrix<float> attend_slowly() const {
    Matrix<float> out(whole().count, shape_.num_heads * shape_.latent_cols);
    reference::paged_mla(args(whole(), out.view()));
    return out;
  }

  void scale_queries(float factor) {
    for (int32_t t = 0; t < q_.num_rows(); ++t) {
      for (int32_t c = 0; c < q_.num_cols(); ++c) q_.row(t)[c] *= factor;
    }
  }

 private:
  Shape shape_;
  std::vector<int32_t> lasts_;
  std::vector<float> rows_f32_;
  std::vector<bf16> rows_bf16_;
  std::vector<int32_t> pages_;
  std::vector<PagedQuery> queries_;
  Matrix<float> q_;
};

void expect_near(const Matrix<float>& out, const Matrix<float>& expected, float bound) {
  ASSERT_EQ(out.num_rows(), expected.num_rows());
  for (int32_t t = 0; t < out.num_rows(); ++t) {
    for (int32_t c = 0; c < out.num_cols(); ++c) {
      ASSERT_NEAR(out.view().row(t)[c], expected.view().row(t)[c], bound) << t << ", " << c;
    }
  }
}

bool same_rows(Rows<const float> a, Rows<const float> b) {
  for (int32_t t = 0; t < a.num_rows; ++t) {
    if (!same_bits(a.row(t), b.row(t), a.num_cols)) return false;
  }
  return true;
}

const std::vector<int32_t> kLasts = {0, 1, 31, 62, 63, 64, 65, 127, 128, 200, 319};

class PagedMlaTest : public KernelTest {};

TEST_P(PagedMlaTest, IsTheReference) {
  for (const int32_t num_heads : {1, 3, 4, 16, 21}) {
    const Scene scene({.num_heads = num_heads}, kLasts, 7);
    expect_near(scene.attend(scene.whole()), scene.attend_slowly(), 2e-6f);
  }
}

TEST_P(PagedMlaTest, OddShapes) {
  const Shape shapes[] = {
      {.num_heads = 2, .latent_cols = 1, .rope_cols = 0, .page_tokens = 64, .num_pages = 5},
      {.num_heads = 5, .latent_cols = 24, .rope_cols = 9, .page_tokens = 1, .num_pages = 320},
      {.num_heads = 3, .latent_cols = 33, .rope_cols = 7, .page_tokens = 13, .num_pages = 25},
      {.num_heads = 16, .latent_cols = 512, .rope_cols = 64, .page_tokens = 64, .num_pages = 5},
      {.num_heads = 6, .latent_cols = 700, .rope_cols = 3, .page_tokens = 300, .num_pages = 2},
  };
  for (const Shape& shape : shapes) {
    const Scene scene(shape, kLasts, 9);
    expect_near(scene.attend(scene.whole()), scene.attend_slowly(), 2e-6f);
  }
}

TEST_P(PagedMlaTest, NoTokensAreFine) {
  const Scene scene({}, {}, 7);
  EXPECT_EQ(scene.attend(scene.whole()).num_rows(), 0);
}

TEST_P(PagedMlaTest, WherePagesLieChangesNoBit) {
  Scene scene({.num_heads = 16}, kLasts, 11);
  const Matrix<float> before = scene.attend(scene.whole());
  scene.shuffle_pages(99);
  EXPECT_TRUE(same_rows(before.view(), scene.attend(scene.whole()).view()));
}

TEST_P(PagedMlaTest, ATokenAndAHeadAreTheirOwnAffair) {
  const Shape shape{.num_heads = 16};
  const Scene scene(shape, kLasts, 13);
  const Matrix<float> all = scene.attend(scene.whole());
  for (int32_t t = 0; t < all.num_rows(); ++t) {
    for (const int32_t num_heads : {1, 2, 3, 4, 7, 16}) {
      for (const int32_t first_head : {0, 16 - num_heads}) {
        const Matrix<float> some = scene.attend({DType::kF32, t, 1, first_head, num_heads});
        const Rows<const float> expected = all.view().rows(t, 1).cols(
            first_head * shape.latent_cols, num_heads * shape.latent_cols);
        ASSERT_TRUE(same_rows(some.view(), expected)) << t << " heads " << num_heads;
      }
    }
  }
}

TEST_P(PagedMlaTest, ThreadsChangeNoBit) {
  const Scene scene({.num_heads = 20}, kLasts, 17);
  const Matrix<float> alone = scene.attend(scene.whole());
  for (const int32_t threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    EXPECT_TRUE(same_rows(scene.attend(scene.whole(), &pool).view(), alone.view())) << threads;
    for (int32_t t = 0; t < alone.num_rows(); ++t) {
      const Matrix<float> one = scene.attend({DType::kF32, t, 1, 0, 20}, &pool);
      EXPECT_TRUE(same_rows(one.view(), alone.view().rows(t, 1))) << threads << " token " << t;
    }
  }
}

TEST_P(PagedMlaTest, ACacheInBf16IsTheSameNumbers) {
  const Scene scene({.num_heads = 5, .latent_cols = 40, .rope_cols = 11}, kLasts, 19);
  EXPECT_TRUE(same_rows(scene.attend(scene.whole(DType::kBF16)).view(),
                        scene.attend(scene.whole(DType::kF32)).view()));
}

// Scores in the thousands: one key takes all, and nothing overflows on the way.
TEST_P(PagedMlaTest, LargeScoresStayFinite) {
  Scene scene({.num_heads = 4}, kLasts, 23);
  scene.scale_queries(3000.f);
  expect_near(scene.attend(scene.whole()), scene.attend_slowly(), 1e-2f);
}

INSTANTIATE_TEST_SUITE_P(Classes, PagedMlaTest, testing::ValuesIn(every_class()), class_name);

}  // namespace
}  // namespace conclave
