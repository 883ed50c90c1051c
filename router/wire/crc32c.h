// CRC-32C (Castagnoli), the checksum of frames: catches every error of up to 32 bits in a row,
// which TCP's own sum does not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace conclave {

// crc32c(b, crc32c(a)) is the checksum of a followed by b. Thread-safe.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t of_what_went_before = 0);

}  // namespace conclave
