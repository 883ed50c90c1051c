// What a server process says about itself: one JSON object a line on stderr, for people with jq and
// for log collectors.
//
//   log_info("registered", {{"server_no", 3}, {"control", "127.0.0.1:7000"}});
//   {"time":"2026-01-31T10:00:00.123456Z","level":"info","event":"registered","server_no":3,...}
//
// `event` is a few fixed words; what changes goes into the fields. Text is escaped, and bytes that
// are not UTF-8 are replaced. Never log what a client wrote or a model said.
//
// Thread-safe. Lines are whole, also when threads log at once.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/status/status.h"

namespace conclave {

class LogValue {
 public:
  LogValue(bool value) : value_(value) {}                                   // NOLINT
  LogValue(std::signed_integral auto value) : value_(int64_t{value}) {}     // NOLINT
  LogValue(std::unsigned_integral auto value) : value_(uint64_t{value}) {}  // NOLINT
  LogValue(double value) : value_(value) {}                                 // NOLINT
  LogValue(const char* value) : value_(std::string(value)) {}               // NOLINT
  LogValue(std::string value) : value_(std::move(value)) {}                 // NOLINT
  LogValue(std::string_view value) : value_(std::string(value)) {}          // NOLINT
  LogValue(const absl::Status& value) : value_(value.ToString()) {}         // NOLINT

  const std::variant<bool, int64_t, uint64_t, double, std::string>& get() const { return value_; }

 private:
  std::variant<bool, int64_t, uint64_t, double, std::string> value_;
};

using LogFields = std::initializer_list<std::pair<std::string_view, LogValue>>;

enum class LogLevel { kDebug, kInfo, kWarn, kError };

// From now on, in the whole process. The default is kInfo.
void set_log_level(LogLevel level);

void log_debug(std::string_view event, LogFields fields = {});
void log_info(std::string_view event, LogFields fields = {});
void log_warn(std::string_view event, LogFields fields = {});
void log_error(std::string_view event, LogFields fields = {});

// The line without its time, for tests.
std::string log_line(LogLevel level, std::string_view event, LogFields fields);

}  // namespace conclave
