// What a leg's status says to the router.
#pragma once

#include "absl/status/status.h"

namespace conclave {

// Whether another try, another server or another time may mend it.
inline bool is_transient(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kNotFound:
      return true;
    default:
      return false;
  }
}

// Whether it speaks against the server itself: a full queue or an expert that lives elsewhere does
// not.
inline bool is_lost_server(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

}  // namespace conclave
