// What a test asks of an error: its code, and that its one line names the file and the thing.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace conclave {

inline void expect_error(const absl::Status& status, absl::StatusCode code,
                         const std::vector<std::string>& words) {
  EXPECT_EQ(status.code(), code) << status.ToString();
  const std::string message(status.message());
  for (const std::string& word : words) {
    EXPECT_NE(message.find(word), std::string::npos) << message << "\n  lacks: " << word;
  }
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 1000u) << message;
}

}  // namespace conclave
