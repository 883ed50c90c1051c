#include "attention/latent_cache.h"

#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/checked_math.h"
#include "common/host_memory.h"
#include "kernels/row_codec.h"

namespace conclave {

uint64_t LatentCache::bytes_per_token(const Options& options) {
  return static_cast<uint64_t>(options.num_layers) * static_cast<uint64_t>(options.row_cols) *
         static_cast<uint64_t>(dtype_bytes(options.dtype));
}

absl::StatusOr<std::unique_ptr<LatentCache>> LatentCache::create(const Options& options) {
  CHECK(options.num_layers > 0 && options.row_cols > 0);
  CHECK(options.page_tokens > 0 && options.num_pages > 0);
  CHECK(options.dtype == DType::kF32 || options.dtype == DType::kBF16);
  const uint64_t num_tokens =
      static_cast<uint64_t>(options.num_pages) * static_cast<uint64_t>(options.page_tokens);
  const std::optional<uint64_t> num_bytes = checked_mul(num_tokens, bytes_per_token(options));
  // Slots are int32. calloc: untouched pages of a large cache cost nothing until they are written.
  const bool countable = num_bytes && num_tokens <= INT32_MAX;
  std::unique_ptr<std::byte[], Free> rows(
      countable ? static_cast<std::byte*>(std::calloc(*num_bytes, 1)) : nullptr);
  if (rows == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("cannot take memory for a cache of %d tokens of %s each", num_tokens,
                        format_bytes(bytes_per_token(options))));
  }
  return std::unique_ptr<LatentCache>(new LatentCache(options, std::move(rows)));
}

LatentCache::LatentCache(const Options& options, std::unique_ptr<std::byte[], Free> rows)
    : options_(options), pages_(options.num_pages), rows_(std::move(rows)) {}

int32_t LatentCache::pages_for(int32_t num_tokens) const {
  return ceil_div(num_tokens, options_.page_tokens);
}

absl::Status LatentCache::reserve(PageTable* table, int32_t num_tokens) {
  CHECK(num_tokens >= table->num_tokens);
  const int32_t num_new = pages_for(num_tokens) - static_cast<int32_t>(table->pages.size());
  if (num_new > pages_.num_free()) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%d pages are needed and %d are free", num_new, pages_.num_free()));
  }
  for (int32_t i = 0; i < num_new; ++i) {
    const std::optional<int32_t> page = pages_.take();
    CHECK(page.has_value());
    table->pages.push_back(*page);
  }
  table->num_tokens = num_tokens;
  return absl::OkStatus();
}

void LatentCache::release(PageTable* table) {
  // Backwards, so that a sequence that comes back at once finds its pages in the same order.
  for (auto page = table->pages.rbegin(); page != table->pages.rend(); ++page) {
    pages_.release(*page);
  }
  *table = PageTable{};
}

int32_t LatentCache::slot(const PageTable& table, int32_t position) const {
  CHECK(position >= 0 && position < table.num_tokens);
  return table.pages[position / options_.page_tokens] * options_.page_tokens +
         position % options_.page_tokens;
}

void LatentCache::write(int32_t layer_idx, std::span<const int32_t> slots,
                        Rows<const float> latents) {
  CHECK(latents.num_rows == static_cast<int32_t>(slots.size()));
  CHECK(latents.num_cols == options_.row_cols);
  const size_t row_bytes =
      static_cast<size_t>(options_.row_cols) * static_cast<size_t>(dtype_bytes(options_.dtype));
  auto* const rows = static_cast<std::byte*>(const_cast<void*>(layer(layer_idx).data));
  for (int32_t i = 0; i < latents.num_rows; ++i) {
    CHECK(slots[i] >= 0);  // a negative one would divide to page 0
    CHECK(pages_.num_owners(slots[i] / options_.page_tokens) == 1);
    pack_rows(latents.rows(i, 1), options_.dtype, rows + static_cast<size_t>(slots[i]) * row_bytes);
  }
}

LatentRows LatentCache::layer(int32_t layer_idx) const {
  CHECK(layer_idx >= 0 && layer_idx < options_.num_layers);
  const size_t num_slots =
      static_cast<size_t>(options_.num_pages) * static_cast<size_t>(options_.page_tokens);
  const size_t row_bytes =
      static_cast<size_t>(options_.row_cols) * static_cast<size_t>(dtype_bytes(options_.dtype));
  return {.data = rows_.get() + static_cast<size_t>(layer_idx) * num_slots * row_bytes,
          .dtype = options_.dtype,
          .num_cols = options_.row_cols};
}

}  // namespace conclave
