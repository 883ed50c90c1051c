// Brings the pages of a mapping into memory, so that the first request does not pay for the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "model/checkpoint/checkpoint.h"
#include "model/weights/load_meter.h"

namespace conclave {

// A piece of the mapping that serving will read.
struct MappedRange {
  const std::byte* data = nullptr;
  uint64_t num_bytes = 0;
  const StoredTensor* tensor = nullptr;  // for messages
};

// The first two return DATA_LOSS naming the tensor when the disk has no longer what the mapping
// promises; on kernels older than 5.14 that ends the process instead.

// One range, before somebody reads it.
absl::Status page_in(const Checkpoint& checkpoint, const MappedRange& range);

// All of them, in the order of the files and ahead of itself.
absl::Status page_in(const Checkpoint& checkpoint, std::vector<MappedRange> ranges,
                     LoadMeter* meter);

// Forgets the pages that lie wholly in `range`, which nobody will read soon. They come back when
// they are read after all.
void page_out(const MappedRange& range);

}  // namespace conclave
