// Frames for tests: bytes to and from ByteBuffers, checksums put on and taken off, random legs.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "router/transport.h"
#include "router/wire/crc32c.h"
#include "router/wire/leg_frame.h"

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

inline std::vector<std::byte> random_bytes(size_t count, std::mt19937* rng) {
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>((*rng)());
  return bytes;
}

// Any leg of the right shape; its picks need not make sense.
inline LegFrame random_leg(std::mt19937* rng) {
  const auto below = [&](uint32_t end) { return static_cast<int32_t>((*rng)() % end); };
  LegFrame leg;
  leg.layer_idx = below(100);
  leg.placement_version = static_cast<int64_t>((*rng)()) << below(32);
  leg.reply_type = below(2) == 0 ? DType::kF32 : DType::kBF16;
  leg.hidden.dtype = below(2) == 0 ? DType::kF32 : DType::kBF16;
  leg.hidden.num_rows = below(5);
  leg.hidden.num_cols = 1 + below(300);
  leg.hidden.bytes = random_bytes(static_cast<size_t>(leg.hidden.num_rows) *
                                      static_cast<size_t>(leg.hidden.num_cols) *
                                      static_cast<size_t>(dtype_bytes(leg.hidden.dtype)),
                                  rng);
  leg.pick_begin.push_back(0);
  for (int32_t m = 0; m < leg.hidden.num_rows; ++m) {
    leg.pick_begin.push_back(leg.pick_begin.back() + 1 + below(3));
  }
  for (int32_t p = 0; p < leg.pick_begin.back(); ++p) leg.pick_expert.push_back(below(256));
  return leg;
}

}  // namespace conclave
