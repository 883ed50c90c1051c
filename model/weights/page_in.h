// Brings the pages of a mapping into memory, so that the first request does not pay for the disk.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "model/checkpoint/checkpoint.h"
#include "model/weights/load_meter.h"
#include "model/weights/tensor_source.h"

namespace conclave {

// Reads in the order of the files, ahead of itself. DATA_LOSS naming the tensor when the disk has
// no longer what the mapping promises; on kernels older than 5.14 that ends the process instead.
absl::Status page_in(const Checkpoint& checkpoint, std::vector<MappedRange> ranges,
                     LoadMeter* meter);

}  // namespace conclave
