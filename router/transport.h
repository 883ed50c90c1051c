// How legs travel. One interface, so that the same engine runs with its experts in the same
// process, in another process or in a simulator.
//
// send() starts a leg and returns; wait() blocks until something came back. Blocking goes through
// the transport so that it can be the place where virtual time passes or where queued work of this
// process runs. One thread, the step thread, calls everything here, and replies are written on it,
// inside these calls: a transport with threads of its own hands their results over there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/dtype.h"
#include "common/ids.h"
#include "common/shared_bytes.h"

namespace conclave {

// Small legs must not wait behind large ones, so they travel on lanes of their own.
enum class Lane : uint8_t { kDecode, kPrefill };

// A leg as it goes out: M rows and N picks for one server. The picks are views, whose memory stays
// as it is until the reply is done; a transport may keep the rows for longer.
struct LegRequest {
  ServerId server{};
  int32_t layer_idx = 0;
  int64_t placement_version = 0;  // for tracing only
  Lane lane = Lane::kDecode;

  std::span<const int32_t> pick_begin;   // [M + 1]
  std::span<const int32_t> pick_expert;  // [N]

  DType row_type = DType::kBF16;  // of the rows out
  int32_t num_cols = 0;           // D
  SharedBytes rows;               // [M, D] packed

  DType reply_type = DType::kBF16;  // of the rows back
};

// What came back: one row per pick, unweighted, in the order of the request's picks. Every
// transport sets all three.
//
// UNAVAILABLE is for what another try, another server or another time may mend: no connection, a
// frame that arrived damaged, a full queue, an expert that has moved away (the server's own status
// may be another; transports pass it on and the router decides).
struct LegReply {
  bool done = false;
  absl::Status status;
  SharedBytes rows;      // [N, D] packed; sized by the transport
  std::string_view via;  // "loopback", "shm", "grpc"; empty: it was never sent
};

// What rows are, as far as their number does not say it.
struct RowsKind {
  DType dtype = DType::kBF16;
  int32_t num_cols = 0;

  bool operator==(const RowsKind&) const = default;
};

// INTERNAL for an answer of another kind than was asked for.
absl::Status check_answer(const RowsKind& said, const RowsKind& asked);

class Transport {
 public:
  virtual ~Transport() = default;

  // A leg that cannot be sent is done at once, with its status.
  virtual void send(const LegRequest& request, LegReply* reply) = 0;

  // Blocks until at least one leg away is done, or until `until` on the transport's clock: false.
  // Legs whose server is lost get done, so an infinite `until` is for tests.
  virtual bool wait(absl::Time until) = 0;

  // Gives a leg up: its reply is done now, with `status`; an answer that still comes is dropped.
  // No effect on a reply that is done.
  virtual void cancel(LegReply* reply, absl::Status status) = 0;
};

}  // namespace conclave
