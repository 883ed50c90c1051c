// Any bytes as a ring: the reader ends with DATA_LOSS or with nothing left, and shows no record
// that is not wholly inside.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "common/check.h"
#include "router/shm/ring.h"

namespace conclave {
namespace {

constexpr size_t kCapacity = 4096;

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};

void read_all(const RingView& ring) {
  RingReader reader(ring);
  for (size_t i = 0; i <= kCapacity / kRingLine; ++i) {
    const auto record = reader.next();
    if (!record.ok() || !record->has_value()) return;
    CHECK((*record)->data() >= ring.data);
    CHECK((*record)->data() + (*record)->size() <= ring.data + ring.capacity);
    reader.consume();
  }
  CHECK(false);  // more records than fit
}

}  // namespace
}  // namespace conclave

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  const size_t num_bytes = RingView::num_bytes(kCapacity);
  const std::unique_ptr<std::byte, Free> memory(
      static_cast<std::byte*>(std::aligned_alloc(kRingLine, num_bytes)));
  std::memset(memory.get(), 0, num_bytes);
  if (size > 0) std::memcpy(memory.get(), data, std::min(size, num_bytes));
  read_all(RingView::at(memory.get(), kCapacity));
  return 0;
}
