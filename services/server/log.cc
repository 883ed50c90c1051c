#include "services/server/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/check.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

struct LevelName {
  LogLevel level;
  spdlog::level::level_enum theirs;
  const char* name;
};

constexpr LevelName kLevels[] = {
    {LogLevel::kDebug, spdlog::level::debug, "debug"},
    {LogLevel::kInfo, spdlog::level::info, "info"},
    {LogLevel::kWarn, spdlog::level::warn, "warn"},
    {LogLevel::kError, spdlog::level::err, "error"},
};

const LevelName& level_name(LogLevel level) {
  for (const LevelName& known : kLevels) {
    if (known.level == level) return known;
  }
  CHECK(false);
}

// Never destroyed: threads may log until the process is gone.
spdlog::logger& logger() {
  static spdlog::logger* const instance = [] {
    auto* made = new spdlog::logger("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *instance;
}

nlohmann::ordered_json to_json(LogLevel level, std::string_view event, LogFields fields) {
  nlohmann::ordered_json line;
  line["level"] = level_name(level).name;
  line["event"] = event;
  for (const auto& [name, value] : fields) {
    std::visit([&line, key = std::string(name)](const auto& plain) { line[key] = plain; },
               value.get());
  }
  return line;
}

std::string dump(const nlohmann::ordered_json& line) {
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void log(LogLevel level, std::string_view event, LogFields fields) {
  const spdlog::level::level_enum theirs = level_name(level).theirs;
  if (!logger().should_log(theirs)) return;
  nlohmann::ordered_json line;
  line["time"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
  line.update(to_json(level, event, fields));
  logger().log(theirs, spdlog::string_view_t(dump(line)));
}

}  // namespace

void set_log_level(LogLevel level) { logger().set_level(level_name(level).theirs); }

void log_debug(std::string_view event, LogFields fields) { log(LogLevel::kDebug, event, fields); }
void log_info(std::string_view event, LogFields fields) { log(LogLevel::kInfo, event, fields); }
void log_warn(std::string_view event, LogFields fields) { log(LogLevel::kWarn, event, fields); }
void log_error(std::string_view event, LogFields fields) { log(LogLevel::kError, event, fields); }

std::string log_line(LogLevel level, std::string_view event, LogFields fields) {
  return dump(to_json(level, event, fields));
}

}  // namespace conclave
