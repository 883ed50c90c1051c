// Rows of D = 7168 between f32 and the types of the wire, one after the other as legs are packed
// and unpacked; read limit and wire bytes are what they stand against.
//
//   row_codec/<pack, unpack>/<dtype>/T:<rows>

#include <string>
#include <vector>

#include "bench/kernels/kernel_bench.h"
#include "benchmark/benchmark.h"
#include "common/thread_pool.h"
#include "kernels/row_codec.h"

namespace conclave {
namespace {

constexpr int32_t kCols = 7168;

struct Case {
  bool pack = false;
  DType dtype = DType::kBF16;
  int32_t num_rows = 1;
};

void run_case(benchmark::State& state, const Case& c) {
  ThreadPool pool(1);
  const ComputeLimits& limits = limits_of(&pool);
  Matrix<float> rows(c.num_rows, kCols);
  for (int32_t t = 0; t < c.num_rows; ++t) {
    for (int32_t i = 0; i < kCols; ++i) rows.row(t)[i] = static_cast<float>(i % 97 - 48) / 7.f;
  }
  const size_t packed_bytes = static_cast<size_t>(c.num_rows) * packed_row_bytes(c.dtype, kCols);
  std::vector<std::byte> packed(packed_bytes);
  pack_rows(rows.view(), c.dtype, packed.data());
  for (auto _ : state) {
    if (c.pack) {
      pack_rows(rows.view(), c.dtype, packed.data());
    } else {
      unpack_rows(packed.data(), c.dtype, rows.view());
    }
    benchmark::DoNotOptimize(packed.data());
    benchmark::DoNotOptimize(rows.row(0));
    benchmark::ClobberMemory();
  }
  const double numbers = static_cast<double>(c.num_rows) * kCols;
  report_work({.bytes = 4 * numbers + static_cast<double>(packed_bytes)}, limits, &state);
}

void register_all() {
  for (const bool pack : {true, false}) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
      for (const int32_t num_rows : {1, 64}) {
        const std::string name = std::string("row_codec/") + (pack ? "pack/" : "unpack/") +
                                 std::string(dtype_name(dtype)) + "/T:" + std::to_string(num_rows);
        const Case c{pack, dtype, num_rows};
        add_kernel_case(name, 1, [c](benchmark::State& state) { run_case(state, c); });
      }
    }
  }
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  conclave::register_all();
  return conclave::run_kernel_bench("row_codec", argc, argv);
}
