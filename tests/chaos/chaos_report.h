// What a chaos run says in the end, as a table or as lines of JSON (bench/report/report.h).
#pragma once

#include <string>

#include "tests/chaos/chaos_run.h"

namespace conclave {

struct ChaosVerdict {
  bool is_exact = true;    // nothing aborted, cut short, doubled or changed, and nothing broken
  bool is_in_time = true;  // every goal is met
};

// Prints to stdout; complaints go to stderr.
ChaosVerdict report_chaos(const ChaosResult& result, bool as_json);

}  // namespace conclave
