#include "router/wire/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace conclave {

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t of_what_went_before) {
  // The library takes lengths as int and leaves both inversions to its caller.
  constexpr size_t kMaxPiece = size_t{1} << 30;
  uint32_t crc = ~of_what_went_before;
  while (!bytes.empty()) {
    const std::span<const std::byte> piece = bytes.first(std::min(bytes.size(), kMaxPiece));
    auto* const begin = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(piece.data()));
    crc = crc32_iscsi(begin, static_cast<int>(piece.size()), crc);
    bytes = bytes.subspan(piece.size());
  }
  return ~crc;
}

}  // namespace conclave
