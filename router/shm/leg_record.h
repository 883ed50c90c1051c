// Records of a link: legs and what is said to them. A head of fixed size, then what it counts:
//
//   leg    | head | pick_begin [M + 1] | pick_expert [N] | rows [M, D] |
//   reply  | head | rows [N, D], or a message in words                 |
//
// Numbers are the machine's own: both ends are on one. Decoders take nothing on trust: every count
// is checked against the record, with multiplication that cannot overflow, before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/shared_bytes.h"
#include "router/arrived_leg.h"
#include "router/transport.h"

namespace conclave {

// The widest leg that is planned, 1,024 picks of a model with D = 7,168 in f32, is 28 MiB.
inline constexpr size_t kMaxRecordBytes = size_t{48} << 20;

size_t leg_record_bytes(const LegRequest& request);

// `record` is leg_record_bytes() long.
void write_leg(uint64_t sequence, const LegRequest& request, std::byte* record);

// INVALID_ARGUMENT for a record that cannot be read: its link is at its end. A leg that can be read
// and asks for what no answer could be or hold is `wrong` and answered so.
struct LegRecord {
  uint64_t sequence = 0;
  absl::Status wrong;
  ArrivedLeg leg;
};
absl::StatusOr<LegRecord> read_leg(std::span<const std::byte> record);

// What is said to a leg: rows of `num_cols` columns, or a status.
struct LegSaid {
  uint64_t sequence = 0;
  absl::Status status;
  DType dtype = DType::kBF16;
  int32_t num_cols = 0;
  SharedBytes rows;
};
size_t reply_record_bytes(const LegSaid& said);
void write_reply(const LegSaid& said, std::byte* record);
absl::StatusOr<LegSaid> read_reply(std::span<const std::byte> record);

}  // namespace conclave
