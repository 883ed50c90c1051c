#include <algorithm>
#include <cstring>
#include <numeric>

#include "hwy/aligned_allocator.h"
#include "kernels/instruction_class.h"
#include "kernels/matmul_int8.h"
#include "kernels/quantise.h"
#include "kernels/work_cut.h"

namespace conclave {
namespace {

constexpr int64_t kColsPerUnit = 8;
// A byte of w costs a quarter of a number of it; what cut_work() counts is numbers.
constexpr int64_t kNumbersPerUnitOfWork = 4;

// Scratch of the thread that calls matmul(), grown to its largest product and kept.
class Int8Scratch {
 public:
  void fit(int64_t num_rows, int64_t num_blocks) {
    const size_t needed = static_cast<size_t>(num_rows * num_blocks);
    if (needed <= capacity_) return;
    codes_ = hwy::AllocateAligned<int8_t>(needed * kInt8Block);
    scale_ = hwy::AllocateAligned<float>(needed);
    sum_ = hwy::AllocateAligned<int32_t>(needed);
    CHECK(codes_ != nullptr && scale_ != nullptr && sum_ != nullptr);
    capacity_ = needed;
  }

  int8_t* codes() { return codes_.get(); }
  float* scale() { return scale_.get(); }
  int32_t* sum() { return sum_.get(); }

 private:
  hwy::AlignedFreeUniquePtr<int8_t[]> codes_;
  hwy::AlignedFreeUniquePtr<float[]> scale_;
  hwy::AlignedFreeUniquePtr<int32_t[]> sum_;
  size_t capacity_ = 0;  // blocks
};

Int8Rows quantise(Rows<const float> x, Executor* executor) {
  static thread_local Int8Scratch scratch_of_thread;
  Int8Scratch* const scratch = &scratch_of_thread;
  const int64_t num_blocks = num_int8_blocks(x.num_cols);
  scratch->fit(x.num_rows, num_blocks);
  const auto quantise_one = [=](int64_t t) {
    int8_t* const codes = scratch->codes() + t * num_blocks * kInt8Block;
    quantise_row(x.row(t), x.num_cols, codes, scratch->scale() + t * num_blocks);
    const int64_t padding = num_blocks * kInt8Block - x.num_cols;
    std::memset(codes + x.num_cols, 0, static_cast<size_t>(padding));
    for (int64_t b = 0; b < num_blocks; ++b) {
      const int8_t* const block = codes + b * kInt8Block;
      scratch->sum()[t * num_blocks + b] = std::accumulate(block, block + kInt8Block, int32_t{0});
    }
  };
  const WorkCut cut = cut_work(x.num_rows, x.num_cols, *executor);
  executor->parallel_for(cut.num_tasks, [&](int64_t i) {
    const int64_t end = std::min<int64_t>(x.num_rows, (i + 1) * cut.units_per_task);
    for (int64_t t = i * cut.units_per_task; t < end; ++t) quantise_one(t);
  });
  return {scratch->codes(), scratch->scale(), scratch->sum(), x.num_rows, num_blocks};
}

}  // namespace

void matmul_int8(const MatmulArgs& args, Executor* executor) {
  const Int8Product product{.x = quantise(args.x, executor), .w = args.w, .out = args.out};
  const auto columns = has_int8_dot() ? int8_columns_vnni : int8_columns_avx2;
  const int64_t num_cols = args.w.num_rows;
  const int64_t work = kColsPerUnit * args.w.num_cols * args.x.num_rows / kNumbersPerUnitOfWork;
  const int64_t num_units = (num_cols + kColsPerUnit - 1) / kColsPerUnit;
  const WorkCut cut = cut_work(num_units, work, *executor);
  const int64_t task_cols = cut.units_per_task * kColsPerUnit;
  executor->parallel_for(cut.num_tasks, [&](int64_t i) {
    columns(product, i * task_cols, std::min(num_cols, (i + 1) * task_cols));
  });
}

}  // namespace conclave
