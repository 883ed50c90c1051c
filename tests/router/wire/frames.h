// Frames for tests: bytes to and from ByteBuffers, checksums put on and taken off.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstring>
#include <string>
#include <vector>

#include "router/wire/crc32c.h"
#include "router/wire/leg_frame.h"
#include "tests/router/random_leg.h"

namespace conclave {

inline grpc::ByteBuffer to_frame(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

inline std::string to_bytes(const grpc::ByteBuffer& frame) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!frame.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

// A frame of ours begins with five bytes of checksum.
inline std::string without_checksum(const std::string& frame) { return frame.substr(5); }

inline std::string with_checksum(const std::string& rest) {
  const uint32_t checksum = crc32c(std::as_bytes(std::span(rest)));
  std::string front(5, '\x0d');
  std::memcpy(front.data() + 1, &checksum, sizeof(checksum));
  return front + rest;
}

inline std::string with_flipped_bit(std::string bytes, size_t bit) {
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  return bytes;
}

}  // namespace conclave
