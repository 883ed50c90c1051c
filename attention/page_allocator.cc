#include "attention/page_allocator.h"

#include "common/check.h"

namespace conclave {

PageAllocator::PageAllocator(int32_t num_pages) : num_owners_(static_cast<size_t>(num_pages), 0) {
  CHECK(num_pages >= 1);
  for (int32_t page = num_pages - 1; page >= 0; --page) free_.push_back(page);
}

PageAllocator::~PageAllocator() { CHECK(num_free() == num_pages()); }

std::optional<int32_t> PageAllocator::take() {
  if (free_.empty()) return std::nullopt;
  const int32_t page = free_.back();
  free_.pop_back();
  CHECK(num_owners_[page] == 0);
  num_owners_[page] = 1;
  return page;
}

void PageAllocator::retain(int32_t page) {
  CHECK(num_owners(page) > 0);
  ++num_owners_[page];
}

void PageAllocator::release(int32_t page) {
  CHECK(num_owners(page) > 0);
  if (--num_owners_[page] == 0) free_.push_back(page);
}

int32_t PageAllocator::num_owners(int32_t page) const {
  CHECK(page >= 0 && page < num_pages());
  return num_owners_[page];
}

}  // namespace conclave
