// Counts the pages of the latent cache: who is free, who is held and by how many.
//
// Bookkeeping only; there is no tensor in sight (attention/latent_cache.h has the memory). A page
// is handed out with one owner; retain() adds owners, release() takes one away, and the last one
// gives the page back. All pages must be home when the allocator dies. Not thread-safe: the step
// thread owns it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace conclave {

class PageAllocator {
 public:
  explicit PageAllocator(int32_t num_pages);
  ~PageAllocator();

  PageAllocator(const PageAllocator&) = delete;
  PageAllocator& operator=(const PageAllocator&) = delete;

  // A free page with one owner, or nothing.
  std::optional<int32_t> take();

  void retain(int32_t page);
  void release(int32_t page);

  int32_t num_pages() const { return static_cast<int32_t>(num_owners_.size()); }
  int32_t num_free() const { return static_cast<int32_t>(free_.size()); }
  int32_t num_owners(int32_t page) const;

 private:
  std::vector<int32_t> free_;        // a stack; its top was freed last and is warm
  std::vector<int32_t> num_owners_;  // [num_pages]
};

}  // namespace conclave
