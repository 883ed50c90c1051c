// Absorbed multi-head latent attention over a paged cache. Source: docs/models.md and arXiv
// 2405.04434.
//
// For every query token t at position `last` of its sequence and every head i:
//
//   score[s] = softmax_scale * (q[t, i, :] . row(s))        s = 0 .. last          row(s) [R + P]
//   out[t, i, :] = sum over s of softmax(score)[s] * row(s)[0 .. R)
//
// where row(s) is the cached row [c_kv | k_rope] in slot pages[s / B] * B + s % B. The split is
// fixed: pages are walked in order, each page's scores and its partial sum are joined to the
// running maximum, denominator and sum by the online softmax rule. Where pages begin depends on
// positions alone, so neither chunking nor the batch changes a bit.
//
//   cache   [num_slots, R + P] f32 or bf16, one layer
//   q       f32 [T, H * (R + P)]   head-major, [q_absorbed | q_rope] a head
//   out     f32 [T, H * R]
//
// Bound by reading the cache once per group of heads. Thread-safe: no state. Work is cut by (token,
// group of heads).
#pragma once

#include <cstdint>
#include <span>

#include "common/dtype.h"
#include "common/executor.h"
#include "common/rows.h"

namespace conclave {

// One layer's cached rows.
struct LatentRows {
  const void* data = nullptr;  // [num_slots, num_cols] of dtype
  DType dtype = DType::kBF16;  // kF32 or kBF16
  int32_t num_cols = 0;        // R + P
};

// The keys that one query token sees.
struct PagedQuery {
  std::span<const int32_t> pages;  // of its sequence; at least last / B + 1 of them
  int32_t last = 0;                // its own position: the last key it sees
};

struct PagedMlaArgs {
  LatentRows cache;
  std::span<const PagedQuery> queries;  // [T]
  Rows<const float> q;
  Rows<float> out;
  int32_t num_heads = 0;     // H
  int32_t latent_cols = 0;   // R
  int32_t page_tokens = 64;  // B
  float softmax_scale = 1.f;
};

void paged_mla(const PagedMlaArgs& args, Executor* executor);

}  // namespace conclave
