#include "model/weights/page_in.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

constexpr uint64_t kChunkBytes = 16 << 20;

struct Pages {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

uintptr_t page_bytes() {
  static const uintptr_t kPage = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  return kPage;
}

// The pages that hold [begin, end).
Pages pages_of(const std::byte* begin, const std::byte* end) {
  const uintptr_t page = page_bytes();
  Pages pages;
  pages.begin = reinterpret_cast<uintptr_t>(begin) / page * page;
  pages.end = (reinterpret_cast<uintptr_t>(end) + page - 1) / page * page;
  return pages;
}

int advise(const Pages& pages, int advice) {
  const int result =
      ::madvise(reinterpret_cast<void*>(pages.begin), pages.end - pages.begin, advice);
  return result == 0 ? 0 : errno;
}

// One byte of every page; `begin` and `end` themselves lie inside the mapping.
void touch(const std::byte* begin, const std::byte* end) {
  constexpr uint64_t kStep = 4096;
  const volatile std::byte* at = begin;
  for (; at < end; at += kStep) static_cast<void>(*at);
  if (begin < end) static_cast<void>(*static_cast<const volatile std::byte*>(end - 1));
}

// Populates [begin, end), at most a chunk of `range`.
absl::Status populate(const Checkpoint& checkpoint, const MappedRange& range,
                      const std::byte* begin, const std::byte* end) {
  const int error = advise(pages_of(begin, end), MADV_POPULATE_READ);
  if (error == EFAULT || error == EHWPOISON || error == EIO) {
    return absl::DataLossError(absl::StrCat(checkpoint.where(*range.tensor),
                                            " cannot be read: the file was cut or damaged (",
                                            std::strerror(error), ")"));
  }
  if (error != 0) touch(begin, end);
  return absl::OkStatus();
}

absl::Status page_in_range(const Checkpoint& checkpoint, const MappedRange& range,
                           LoadMeter* meter) {
  const std::byte* const end = range.data + range.num_bytes;
  for (const std::byte* at = range.data; at < end;) {
    const std::byte* const next = at + std::min<uint64_t>(kChunkBytes, end - at);
    const std::byte* const ahead = next + std::min<uint64_t>(kChunkBytes, end - next);
    if (next < ahead) advise(pages_of(next, ahead), MADV_WILLNEED);  // a hint; may fail
    RETURN_IF_ERROR(populate(checkpoint, range, at, next));
    if (meter != nullptr) meter->add(static_cast<uint64_t>(next - at));
    at = next;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status page_in(const Checkpoint& checkpoint, const MappedRange& range) {
  return page_in_range(checkpoint, range, nullptr);
}

absl::Status page_in(const Checkpoint& checkpoint, std::vector<MappedRange> ranges,
                     LoadMeter* meter) {
  std::sort(ranges.begin(), ranges.end(), [](const MappedRange& a, const MappedRange& b) {
    if (a.tensor->file_idx != b.tensor->file_idx) return a.tensor->file_idx < b.tensor->file_idx;
    return a.data < b.data;
  });
  for (const MappedRange& range : ranges) {
    RETURN_IF_ERROR(page_in_range(checkpoint, range, meter));
  }
  return absl::OkStatus();
}

void page_out(const MappedRange& range) {
  Pages pages = pages_of(range.data, range.data + range.num_bytes);
  const uintptr_t page = page_bytes();
  if (pages.begin < reinterpret_cast<uintptr_t>(range.data)) pages.begin += page;
  if (pages.end > reinterpret_cast<uintptr_t>(range.data) + range.num_bytes) pages.end -= page;
  if (pages.begin < pages.end) advise(pages, MADV_DONTNEED);  // failing costs memory alone
}

}  // namespace conclave
