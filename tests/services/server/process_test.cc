// Invariants: a log line is one line of JSON whatever is in it; every request to stop is told once,
// an error for ever; the one who started a server hears lines and then the end; flags that cannot
// be are refused in words.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "services/server/log.h"
#include "services/server/progress_watch.h"
#include "services/server/ready_line.h"
#include "services/server/server_flags.h"
#include "services/server/stop_signal.h"
#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

using testing::HasSubstr;

TEST(LogTest, FieldsAreJson) {
  EXPECT_EQ(
      log_line(LogLevel::kInfo, "registered",
               {{"server_no", 3},
                {"big", uint64_t{1} << 63},
                {"below", -5L},
                {"share", 0.5},
                {"ok", true},
                {"name", "a\"b\n\x01"},
                {"status", absl::NotFoundError("gone")}}),
      R"({"level":"info","event":"registered","server_no":3,"big":9223372036854775808,)"
      R"("below":-5,"share":0.5,"ok":true,"name":"a\"b\n\u0001","status":"NOT_FOUND: gone"})");
}

TEST(LogTest, BytesThatAreNoTextAreReplaced) {
  const std::string line = log_line(LogLevel::kError, "e", {{"name", std::string("\xff\xfe\n")}});
  EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST(LogTest, LinesAreWhole) {
  testing::internal::CaptureStderr();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int n = 0; n < 100; ++n) log_warn("many", {{"n", n}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  log_debug("not said");
  std::istringstream lines(testing::internal::GetCapturedStderr());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  }
  EXPECT_EQ(count, 400);
}

TEST(StopSignalTest, EachSignalIsToldOnce) {
  StopSignal stop;
  EXPECT_FALSE(stop.wait(absl::ZeroDuration()));
  for (const int signal : {SIGTERM, SIGINT}) {
    kill(getpid(), signal);
    EXPECT_TRUE(stop.wait(absl::Seconds(60)));
    EXPECT_FALSE(stop.wait(absl::Milliseconds(5)));
  }
  EXPECT_TRUE(stop.status().ok());
}

TEST(StopSignalTest, ARequestWakes) {
  StopSignal stop;
  std::thread other([&stop] {
    absl::SleepFor(absl::Milliseconds(20));
    stop.request();
  });
  EXPECT_TRUE(stop.wait(absl::InfiniteDuration()));
  other.join();
  EXPECT_FALSE(stop.wait(absl::ZeroDuration()));
}

TEST(StopSignalTest, AnErrorStays) {
  StopSignal stop;
  stop.request(absl::InternalError("first"));
  stop.request(absl::DataLossError("second"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(stop.wait(absl::InfiniteDuration()));
  EXPECT_EQ(stop.status(), absl::InternalError("first"));
}

std::string read_all(int fd) {
  std::string text;
  char buffer[256];
  for (ssize_t count; (count = read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(count));
  }
  close(fd);
  return text;
}

TEST(ReadyLineTest, LinesAndThenTheEnd) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  ReadyLine ready(fds[1]);
  ready.progress("experts \"0/2\"", 1, 9);
  ready.ready({.role = "expert_server", .address = "h:1", .metrics = "h:2"});
  ready.progress("late", 1, 1);
  EXPECT_EQ(read_all(fds[0]), R"({"progress":"experts \"0/2\"","done":1,"total":9})"
                              "\n"
                              R"({"ready":{"role":"expert_server","pid":)" +
                                  std::to_string(getpid()) +
                                  R"(,"address":"h:1","metrics":"h:2"}})" + "\n");
}

TEST(ReadyLineTest, AReaderThatHasGoneIsNoError) {
  StopSignal ignores_sigpipe;
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  close(fds[0]);
  ReadyLine ready(fds[1]);
  ready.progress("p", 1, 2);
  ready.ready({.role = "r"});
  ReadyLine nobody(-1);
  nobody.progress("p", 1, 2);
}

TEST(ProgressWatchTest, OnlyWorkThatWaitsIsStuck) {
  ManualClock clock;
  ProgressWatch watch(&clock);
  clock.advance(absl::Hours(1));
  EXPECT_FALSE(watch.is_stuck(absl::Seconds(10)));
  watch.progress(/*has_work=*/true);
  clock.advance(absl::Seconds(10));
  EXPECT_FALSE(watch.is_stuck(absl::Seconds(10)));
  clock.advance(absl::Nanoseconds(1));
  EXPECT_TRUE(watch.is_stuck(absl::Seconds(10)));
  watch.progress(/*has_work=*/true);
  EXPECT_FALSE(watch.is_stuck(absl::Seconds(10)));
  watch.progress(/*has_work=*/false);
  clock.advance(absl::Hours(1));
  EXPECT_FALSE(watch.is_stuck(absl::Seconds(10)));
}

TEST(ServerFlagsTest, AdvertisedAddresses) {
  ServerFlags flags;
  EXPECT_EQ(flags.advertised("127.0.0.1:40001"), "127.0.0.1:40001");
  flags.advertise_address = "node-3:0";
  EXPECT_EQ(flags.advertised("0.0.0.0:40001"), "node-3:40001");
  flags.advertise_address = "node-3:7";
  EXPECT_EQ(flags.advertised("0.0.0.0:40001"), "node-3:7");
  EXPECT_EQ(flags.advertised_metrics("0.0.0.0:9", "node-3:7"), "node-3:9");
  EXPECT_EQ(flags.advertised_metrics("[::]:9", "node-3:7"), "node-3:9");
  EXPECT_EQ(flags.advertised_metrics("10.0.0.1:9", "node-3:7"), "10.0.0.1:9");
  EXPECT_EQ(flags.advertised_metrics("", "node-3:7"), "");
}

TEST(ServerFlagsTest, WhatCannotBeIsRefused) {
  const struct {
    ServerFlags flags;
    const char* word;
  } cases[] = {
      {{.listen = "here"}, "--listen \"here\""},
      {{.listen = "0.0.0.0:1"}, "--advertise-address says where"},
      {{.listen = "[::]:1"}, "--advertise-address says where"},
      {{.advertise_address = "0.0.0.0:1"}, "no place to reach"},
      {{.advertise_address = "x"}, "--advertise-address \"x\""},
      {{.metrics_listen = "on"}, "--metrics-listen \"on\""},
      {{.control = "gateway"}, "--control \"gateway\""},
  };
  for (const auto& c : cases) {
    const absl::Status status = c.flags.apply();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.word));
  }
  const ServerFlags fine{.listen = "0.0.0.0:0",
                         .advertise_address = "node-3:0",
                         .metrics_listen = "off",
                         .control = "[::1]:7"};
  EXPECT_TRUE(fine.apply().ok());
}

TEST(ServerFlagsTest, TheModelIsCalledAsItsFolder) {
  EXPECT_EQ(ServerFlags{.model = CONCLAVE_SOURCE_DIR "/models/bard/"}.name_of_model(), "bard");
  EXPECT_EQ((ServerFlags{.model = "/x/y", .model_name = "poet"}.name_of_model()), "poet");
}

}  // namespace
}  // namespace conclave
