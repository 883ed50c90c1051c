#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace conclave::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class Stored>
float stored_at(const void* data, int64_t idx) {
  return to_f32(static_cast<const Stored*>(data)[idx]);
}

int32_t int8_at(const Weight& w, int64_t n, int64_t k) {
  return static_cast<const int8_t*>(w.data)[n * w.num_cols + k];
}

// Number `col` of the cached row in `slot`.
double cached(const LatentRows& cache, int64_t slot, int64_t col) {
  const int64_t idx = slot * cache.num_cols + col;
  if (cache.dtype == DType::kF32) return stored_at<float>(cache.data, idx);
  return stored_at<bf16>(cache.data, idx);
}

// softmax(score) in place.
void normalise(std::vector<double>* score) {
  const double max = *std::max_element(score->begin(), score->end());
  double sum = 0;
  for (double& s : *score) {
    s = std::exp(s - max);
    sum += s;
  }
  for (double& s : *score) s /= sum;
}

// Where two codes are as near, the even one.
uint8_t nearest_f8(float value) {
  const double size = std::fabs(std::clamp(value, -kMostFp8, kMostFp8));
  const auto distance = [&](uint8_t code) { return std::fabs(size - to_f32(f8e4m3{code})); };
  uint8_t best = 0;
  for (uint8_t code = 1; code < 0x7F; ++code) {
    const double gain = distance(best) - distance(code);
    if (gain > 0 || (gain == 0 && code % 2 == 0)) best = code;
  }
  return static_cast<uint8_t>(best | (std::signbit(value) ? 0x80 : 0));
}

void attend(const PagedMlaArgs& args, const PagedQuery& query, const float* q, float* out) {
  const auto slot = [&](int32_t s) {
    return int64_t{query.pages[static_cast<size_t>(s / args.page_tokens)]} * args.page_tokens +
           s % args.page_tokens;
  };
  std::vector<double> p(static_cast<size_t>(query.last) + 1);
  for (int32_t s = 0; s <= query.last; ++s) {
    double dot = 0;
    for (int64_t c = 0; c < args.cache.num_cols; ++c) dot += q[c] * cached(args.cache, slot(s), c);
    p[static_cast<size_t>(s)] = args.softmax_scale * dot;
  }
  normalise(&p);
  for (int64_t r = 0; r < args.latent_cols; ++r) {
    double sum = 0;
    for (int32_t s = 0; s <= query.last; ++s) {
      sum += p[static_cast<size_t>(s)] * cached(args.cache, slot(s), r);
    }
    out[r] = static_cast<float>(sum);
  }
}

}  // namespace

float weight_at(const Weight& w, int64_t n, int64_t k) {
  const int64_t idx = n * w.num_cols + k;
  switch (w.dtype) {
    case DType::kF32:
      return stored_at<float>(w.data, idx);
    case DType::kF16:
      return stored_at<f16>(w.data, idx);
    case DType::kBF16:
      return stored_at<bf16>(w.data, idx);
    case DType::kF8E4M3:
    case DType::kI8:
      break;
  }
  const int64_t block_row = (w.first_row + n) / w.block_rows;
  const int64_t block_col = k / w.block_cols;
  const float scale = w.scale[block_row * w.scale_cols + block_col];
  if (w.dtype == DType::kI8) return static_cast<float>(int8_at(w, n, k)) * scale;
  return stored_at<f8e4m3>(w.data, idx) * scale;
}

bool quantise_row(const float* x, int64_t num_cols, int8_t* codes, float* scale) {
  bool finite = true;
  for (int64_t begin = 0; begin < num_cols; begin += kInt8Block) {
    const int64_t end = std::min<int64_t>(num_cols, begin + kInt8Block);
    float largest = 0;
    bool block_finite = true;
    for (int64_t k = begin; k < end; ++k) {
      largest = std::max(largest, std::fabs(x[k]));
      block_finite = block_finite && std::isfinite(x[k]);
    }
    float& unit = scale[begin / kInt8Block];
    unit = largest / 127.f;
    if (unit < std::numeric_limits<float>::min()) unit = 0;
    if (!block_finite) unit = std::numeric_limits<float>::quiet_NaN();
    for (int64_t k = begin; k < end; ++k) {
      codes[k] = unit > 0 ? static_cast<int8_t>(std::nearbyint(x[k] / unit)) : int8_t{0};
    }
    finite = finite && block_finite;
  }
  return finite;
}

void pack_fp8_row(const float* x, int32_t num_cols, std::byte* packed) {
  for (int32_t begin = 0; begin < num_cols; begin += kFp8Block) {
    const int32_t end = std::min(num_cols, begin + kFp8Block);
    float largest = kLeastFp8Magnitude;
    bool finite = true;
    for (int32_t c = begin; c < end; ++c) {
      largest = std::max(largest, std::fabs(x[c]));
      finite = finite && std::isfinite(x[c]);
    }
    const float scale = finite ? largest / kMostFp8 : std::numeric_limits<float>::quiet_NaN();
    for (int32_t c = begin; c < end; ++c) {
      packed[c] = std::byte{finite ? nearest_f8(x[c] / scale) : uint8_t{0}};
    }
    std::memcpy(packed + num_cols + begin / kFp8Block * 4, &scale, sizeof(scale));
  }
}

void unpack_fp8_row(const std::byte* packed, int32_t num_cols, float* x) {
  for (int32_t c = 0; c < num_cols; ++c) {
    float scale;
    std::memcpy(&scale, packed + num_cols + c / kFp8Block * 4, sizeof(scale));
    x[c] = to_f32(f8e4m3{std::to_integer<uint8_t>(packed[c])}) * scale;
  }
}

void matmul_int8(const MatmulArgs& args) {
  const int64_t num_cols = args.w.num_cols;
  std::vector<int8_t> x(static_cast<size_t>(num_cols));
  std::vector<float> x_scale(static_cast<size_t>(args.w.scale_cols));
  for (int32_t t = 0; t < args.x.num_rows; ++t) {
    quantise_row(args.x.row(t), num_cols, x.data(), x_scale.data());
    for (int32_t n = 0; n < args.w.num_rows; ++n) {
      float sum = 0;
      for (int64_t block = 0; block * kInt8Block < num_cols; ++block) {
        const int64_t end = std::min<int64_t>(num_cols, (block + 1) * kInt8Block);
        int32_t dot = 0;
        for (int64_t k = block * kInt8Block; k < end; ++k) {
          dot += x[static_cast<size_t>(k)] * int8_at(args.w, n, k);
        }
        const float w_scale = args.w.scale[(args.w.first_row + n) * args.w.scale_cols + block];
        const float scale = x_scale[static_cast<size_t>(block)] * w_scale;
        sum = std::fma(static_cast<float>(dot), scale, sum);
      }
      args.out.row(t)[n] = sum;
    }
  }
}

void matmul(const MatmulArgs& args) {
  for (int32_t t = 0; t < args.x.num_rows; ++t) {
    for (int32_t n = 0; n < args.w.num_rows; ++n) {
      double sum = 0;
      for (int32_t k = 0; k < args.w.num_cols; ++k) {
        sum += double{args.x.row(t)[k]} * weight_at(args.w, n, k);
      }
      args.out.row(t)[n] = static_cast<float>(sum);
    }
  }
}

void matmul_t(const MatmulArgs& args) {
  for (int32_t t = 0; t < args.x.num_rows; ++t) {
    for (int32_t k = 0; k < args.w.num_cols; ++k) {
      double sum = 0;
      for (int32_t n = 0; n < args.w.num_rows; ++n) {
        sum += double{args.x.row(t)[n]} * weight_at(args.w, n, k);
      }
      args.out.row(t)[k] = static_cast<float>(sum);
    }
  }
}

void rms_norm(const RmsNormArgs& args) {
  const int32_t num_cols = args.x.num_cols;
  for (int32_t t = 0; t < args.x.num_rows; ++t) {
    const float* const x = args.x.row(t);
    double squares = 0;
    for (int32_t d = 0; d < num_cols; ++d) squares += double{x[d]} * x[d];
    const double norm = std::sqrt(squares / num_cols + double{args.eps});
    for (int32_t d = 0; d < num_cols; ++d) {
      args.out.row(t)[d] = static_cast<float>(x[d] / norm * args.weight[d]);
    }
  }
}

void rope(const RopeArgs& args) {
  const int32_t num_pairs = args.cos.num_cols;
  for (int32_t t = 0; t < args.x.num_rows; ++t) {
    for (int32_t i = 0; i < args.num_heads; ++i) {
      float* const x = args.x.row(t) + args.first_col + int64_t{i} * args.head_stride;
      for (int32_t j = 0; j < num_pairs; ++j) {
        float& a = args.interleaved ? x[2 * j] : x[j];
        float& b = args.interleaved ? x[2 * j + 1] : x[num_pairs + j];
        const double cos = args.cos.row(t)[j];
        const double sin = args.sin.row(t)[j];
        const double turned = a * cos - b * sin;
        b = static_cast<float>(a * sin + b * cos);
        a = static_cast<float>(turned);
      }
    }
  }
}

void softmax_rows(Rows<float> x) {
  for (int32_t t = 0; t < x.num_rows; ++t) {
    if (x.num_cols == 0) continue;
    std::vector<double> row(x.row(t), x.row(t) + x.num_cols);
    normalise(&row);
    for (int32_t i = 0; i < x.num_cols; ++i) {
      x.row(t)[i] = static_cast<float>(row[static_cast<size_t>(i)]);
    }
  }
}

void sigmoid_rows(Rows<float> x) {
  for (int32_t t = 0; t < x.num_rows; ++t) {
    for (int32_t i = 0; i < x.num_cols; ++i) {
      x.row(t)[i] = static_cast<float>(1 / (1 + std::exp(-double{x.row(t)[i]})));
    }
  }
}

double log_sum_exp(std::span<const float> x) {
  double max = -kInfinity;
  for (const float value : x) max = std::max(max, double{value});
  if (std::isinf(max)) return max;
  double sum = 0;
  for (const float value : x) sum += std::exp(value - max);
  return max + std::log(sum);
}

void swiglu(const SwigluArgs& args) {
  for (int32_t t = 0; t < args.gate.num_rows; ++t) {
    for (int32_t f = 0; f < args.gate.num_cols; ++f) {
      const double z = args.gate.row(t)[f];
      args.out.row(t)[f] = static_cast<float>(z / (1 + std::exp(-z)) * args.up.row(t)[f]);
    }
  }
}

void paged_mla(const PagedMlaArgs& args) {
  for (size_t t = 0; t < args.queries.size(); ++t) {
    const int64_t row = static_cast<int64_t>(t);
    for (int64_t i = 0; i < args.num_heads; ++i) {
      attend(args, args.queries[t], args.q.row(row) + i * args.cache.num_cols,
             args.out.row(row) + i * args.latent_cols);
    }
  }
}

}  // namespace conclave::reference
