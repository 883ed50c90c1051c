// Linear layers as they are served: weights of more bytes than the caches hold, read once a
// product. Few rows run against the read limit, many against the FMA limit.
//
//   matmul/<dtype>/<T>/<threads>          w [2048, 7168], DeepSeek-V3's expert
//   matmul_cached/<dtype>/<T>/<threads>   w [256, 1024], from the cache
//   matmul_t/<dtype>/<T>/<threads>        w [128, 512], a head of absorbed kv_b_proj, and from the
//   cache

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "bench/kernels/kernel_bench.h"
#include "benchmark/benchmark.h"
#include "common/thread_pool.h"
#include "kernels/matmul.h"

namespace conclave {
namespace {

// Several weights of one shape, so that the next one is never in a cache.
class WeightRing {
 public:
  struct Shape {
    int32_t num_rows = 0;
    int32_t num_cols = 0;
    int64_t ring_bytes = 0;
  };

  WeightRing(const Shape& shape, DType dtype) {
    one_ = {.dtype = dtype, .num_rows = shape.num_rows, .num_cols = shape.num_cols};
    const int64_t weight_bytes = static_cast<int64_t>(one_.num_bytes());
    num_weights_ = std::max<int64_t>(1, shape.ring_bytes / weight_bytes);
    bytes_.resize(static_cast<size_t>(num_weights_ * weight_bytes));
    // 0x3C in every byte is a modest positive number in all formats.
    std::fill(bytes_.begin(), bytes_.end(), 0x3C);
    if (dtype != DType::kF8E4M3) return;
    one_.block_rows = one_.block_cols = 128;
    one_.scale_cols = (shape.num_cols + 127) / 128;
    scale_.assign(static_cast<size_t>((shape.num_rows + 127) / 128 * one_.scale_cols), 0.01f);
    one_.scale = scale_.data();
  }

  Weight next() {
    Weight w = one_;
    w.data = &bytes_[static_cast<size_t>(idx_) * one_.num_bytes()];
    idx_ = (idx_ + 1) % num_weights_;
    return w;
  }

 private:
  Weight one_;
  std::vector<char> bytes_;
  std::vector<float> scale_;
  int64_t num_weights_ = 0;
  int64_t idx_ = 0;
};

using Product = void (*)(const MatmulArgs&, Executor*);

struct Case {
  Product product = matmul;
  bool transposed = false;
  WeightRing::Shape shape;
  DType dtype = DType::kBF16;
  int32_t num_tokens = 1;
  int32_t num_threads = 1;
};

void run_case(benchmark::State& state, const Case& c) {
  ThreadPool pool(c.num_threads);
  const ComputeLimits& limits = limits_of(&pool);
  WeightRing ring(c.shape, c.dtype);
  Matrix<float> x(c.num_tokens, c.transposed ? c.shape.num_rows : c.shape.num_cols);
  Matrix<float> out(c.num_tokens, c.transposed ? c.shape.num_cols : c.shape.num_rows);
  std::mt19937 rng(1);
  for (int32_t t = 0; t < c.num_tokens; ++t) {
    for (int32_t k = 0; k < x.num_cols(); ++k) x.row(t)[k] = static_cast<float>(rng()) * 1e-10f;
  }
  for (auto _ : state) {
    c.product({.x = x.view(), .w = ring.next(), .out = out.view()}, &pool);
    benchmark::DoNotOptimize(out.row(0));
  }
  const double num_weights = static_cast<double>(c.shape.num_rows) * c.shape.num_cols;
  report_work(
      {.bytes = num_weights * dtype_bytes(c.dtype), .flops = 2 * num_weights * c.num_tokens},
      limits, &state);
}

void add(const std::string& name, const Case& c) {
  const std::string full = name + "/" + std::string(dtype_name(c.dtype)) +
                           "/T:" + std::to_string(c.num_tokens) +
                           "/threads:" + std::to_string(c.num_threads);
  add_kernel_case(full, c.num_threads, [c](benchmark::State& state) { run_case(state, c); });
}

void register_all() {
  std::vector<int32_t> thread_counts = {1};
  if (num_usable_cores() > 1) thread_counts.push_back(num_usable_cores());
  for (const int32_t threads : thread_counts) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E4M3}) {
      for (const int32_t tokens : {1, 2, 4, 8, 16, 64, 256}) {
        const WeightRing::Shape expert{2048, 7168, int64_t{256} << 20};
        const WeightRing::Shape head{128, 512, 1};
        const WeightRing::Shape cached{256, 1024, 1};
        add("matmul", {matmul, false, expert, dtype, tokens, threads});
        add("matmul_cached", {matmul, false, cached, dtype, tokens, threads});
        add("matmul_t", {matmul_t, true, head, dtype, tokens, threads});
      }
    }
  }
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  conclave::register_all();
  return conclave::run_kernel_bench("matmul", argc, argv);
}
