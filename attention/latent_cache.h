// The attention node's memory: one compressed row per token per layer.
//
// MLA stores no per-head keys and values. A token leaves behind a single latent row,
//
//     row = [ c_kv | k_rope ]      f32 or bf16 [R + P]      R = kv_lora_rank, P = qk_rope_head_dim
//
// so in DeepSeek-V3 (R = 512, P = 64, 61 layers, bf16) a token costs 1,152 B * 61 = 70,272 B.
//
// Rows live in pages of B tokens. A sequence owns a PageTable; its token at position `pos` sits in
//
//     slot(pos) = table.pages[pos / B] * B + pos % B          the same slot in every layer
//
// Pages are counted (attention/page_allocator.h), so that sequences may share them. A row is
// written once, when its token is computed, so a page that is full stays as it is; a shared page is
// never written. Not thread-safe: the step thread owns the cache. Its addresses are taken in
// create(); the system commits a page's memory when it is first written.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/page_allocator.h"
#include "common/dtype.h"
#include "common/rows.h"
#include "kernels/paged_mla.h"

namespace conclave {

// Where one sequence's tokens are. Plain data: copy it, print it, send it.
struct PageTable {
  std::vector<int32_t> pages;  // [ceil(num_tokens / B)]
  int32_t num_tokens = 0;      // room reserved
};

class LatentCache {
 public:
  struct Options {
    int32_t num_layers = 0;
    int32_t row_cols = 0;      // R + P
    int32_t page_tokens = 64;  // B
    int32_t num_pages = 0;
    DType dtype = DType::kBF16;  // f32 or bf16
  };

  // RESOURCE_EXHAUSTED when the memory cannot be had.
  static absl::StatusOr<std::unique_ptr<LatentCache>> create(const Options& options);

  LatentCache(const LatentCache&) = delete;
  LatentCache& operator=(const LatentCache&) = delete;

  // Makes room for `num_tokens` tokens in all. All or nothing: returns RESOURCE_EXHAUSTED and
  // leaves `table` as it was when there are not enough free pages.
  // REQUIRES: num_tokens >= table->num_tokens
  absl::Status reserve(PageTable* table, int32_t num_tokens);

  // Gives every page back and empties the table. Shared pages stay with their other owners.
  void release(PageTable* table);

  // Where the token at `position` sits. REQUIRES: position < table.num_tokens
  int32_t slot(const PageTable& table, int32_t position) const;

  // Rounds one row per token to the cache's type: latents[i, :] goes to slots[i] of `layer_idx`.
  // REQUIRES: latents is [slots.size(), R + P], and no slot lies in a shared page
  void write(int32_t layer_idx, std::span<const int32_t> slots, Rows<const float> latents);

  // The whole layer as [num_pages * B, R + P], for kernels that follow page tables themselves.
  LatentRows layer(int32_t layer_idx) const;

  int32_t pages_for(int32_t num_tokens) const;
  int32_t page_tokens() const { return options_.page_tokens; }
  int32_t num_pages() const { return pages_.num_pages(); }
  int32_t num_free_pages() const { return pages_.num_free(); }

  static uint64_t bytes_per_token(const Options& options);

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  LatentCache(const Options& options, std::unique_ptr<std::byte[], Free> rows);

  const Options options_;
  PageAllocator pages_;
  const std::unique_ptr<std::byte[], Free> rows_;  // [num_layers, num_pages * B, R + P] of dtype
};

}  // namespace conclave
