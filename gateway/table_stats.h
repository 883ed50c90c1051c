// What the request table tells the metrics.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace conclave {

// Since the start. Every accepted request ends in exactly one of the outcomes.
struct TableCounters {
  int64_t num_accepted = 0;
  int64_t num_refused = 0;  // by submit()

  int64_t num_stop_id = 0;
  int64_t num_stop_string = 0;
  int64_t num_length = 0;
  int64_t num_cancelled = 0;
  int64_t num_client_gone = 0;
  int64_t num_deadline = 0;
  int64_t num_failed = 0;

  int64_t num_runs = 0;             // assignments to nodes, first ones and others
  int64_t num_replays = 0;          // runs that were lost and are made up for by another
  int64_t num_replayed_tokens = 0;  // ids that those had so far: prompts, and what was said
  int64_t num_turned_away = 0;      // runs that a full node refused
  int64_t num_prompt_tokens = 0;    // of accepted requests
  int64_t num_tokens = 0;           // generated ids said to clients

  int64_t num_ended() const {
    return num_stop_id + num_stop_string + num_length + num_cancelled + num_client_gone +
           num_deadline + num_failed;
  }
};

// Called on the table's thread; must not call the table back.
class TableObserver {
 public:
  virtual ~TableObserver() = default;

  // From submission to the first id.
  virtual void on_first_token(absl::Duration wait) = 0;

  // `num_tokens` more ids came `gap` after the last, or after each other at gap / num_tokens.
  virtual void on_next_tokens(absl::Duration gap, int32_t num_tokens) = 0;
};

}  // namespace conclave
