// Invariants: a port is this process's alone and is known once it is open; health and reflection
// say what is offered; every metric is there before it counts anything.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/server/address.h"
#include "services/server/grpc_door.h"
#include "services/server/metrics.h"
#include "tests/services/server/fake_control.h"
#include "tests/services/server/http_get.h"
#include "tests/services/server/raw_call.h"

namespace conclave {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kService[] = "conclave.v1.Control";

TEST(AddressTest, HostAndPortAreTakenApart) {
  const struct {
    const char* text;
    const char* host;
    int32_t port;
    bool is_wildcard;
  } cases[] = {
      {"127.0.0.1:7000", "127.0.0.1", 7000, false},
      {"node-3.local:0", "node-3.local", 0, false},
      {"[::1]:65535", "::1", 65535, false},
      {"0.0.0.0:1", "0.0.0.0", 1, true},
      {"[::]:1", "::", 1, true},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<HostPort> parsed = parse_host_port(c.text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->host, c.host);
    EXPECT_EQ(parsed->port, c.port);
    EXPECT_EQ(parsed->is_wildcard(), c.is_wildcard);
    EXPECT_EQ(parsed->to_string(), c.text);
  }
}

TEST(AddressTest, WhatIsNoAddressIsQuoted) {
  for (const char* text :
       {"", ":", ":7000", "host", "host:", "host:-1", "host:+1", "host:65536", "host:99999999999",
        "host:7 ", "host:0x10", "::1:7000", "[]:1", "a b:1", "a/b:1", "[::1:1", "http://host:1"}) {
    const absl::StatusOr<HostPort> parsed = parse_host_port(text);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(text));
  }
}

class GrpcDoorTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<GrpcDoor>> open(const std::string& listen = "127.0.0.1:0") {
    return GrpcDoor::open({.listen = listen, .offers = {{kService, &service_}}});
  }

  FakeControl service_;
};

TEST_F(GrpcDoorTest, HealthSaysWhatItIsTold) {
  const auto door = open();
  ASSERT_TRUE(door.ok()) << door.status();
  const std::string address = (*door)->address();
  const auto expect = [&address](const char* alive, const char* ready) {
    EXPECT_EQ(health(address, ""), alive);
    EXPECT_EQ(health(address, "liveness"), alive);
    EXPECT_EQ(health(address, "readiness"), ready);
    EXPECT_EQ(health(address, kService), ready);
  };
  expect("SERVING", "NOT_SERVING");
  (*door)->set_ready(true);
  expect("SERVING", "SERVING");
  (*door)->set_alive(false);
  expect("NOT_SERVING", "SERVING");
  (*door)->set_alive(true);
  (*door)->set_ready(false);
  expect("SERVING", "NOT_SERVING");
  EXPECT_EQ(raw_call(address, "/grpc.health.v1.Health/Check", "\x0a\x01x").status.error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(GrpcDoorTest, ReflectionListsTheServices) {
  const auto door = open();
  ASSERT_TRUE(door.ok()) << door.status();
  const std::string listed =
      raw_call((*door)->address(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
               "\x3a\x01*")
          .message;
  EXPECT_THAT(listed, HasSubstr(kService));
  EXPECT_THAT(listed, HasSubstr("grpc.health.v1.Health"));
}

TEST_F(GrpcDoorTest, ATakenPortIsAnErrorThatNamesIt) {
  const auto door = open();
  ASSERT_TRUE(door.ok()) << door.status();
  const auto second = open((*door)->address());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr((*door)->address()));
  (*door)->shutdown(absl::ZeroDuration());
  EXPECT_TRUE(open((*door)->address()).ok());
}

TEST_F(GrpcDoorTest, AWrongAddressIsRefused) {
  EXPECT_EQ(open("nowhere").status().code(), absl::StatusCode::kInvalidArgument);
}

absl::StatusOr<std::unique_ptr<Metrics>> serve_metrics(const std::string& listen) {
  return Metrics::create({.listen = listen, .role = "tester", .version = "1.2.3"});
}

TEST(MetricsTest, FamiliesAreThereBeforeTheyCount) {
  const auto metrics = serve_metrics("127.0.0.1:0");
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  const std::string address = (*metrics)->address();
  EXPECT_THAT(address, Not(HasSubstr(":0")));
  prometheus::Counter& legs =
      (*metrics)->counter("conclave_test_legs_total", "Legs", {{"code", "OK"}});
  (*metrics)->gauge("conclave_test_queue", "Queue").Set(4);
  (*metrics)->histogram("conclave_test_seconds", "Seconds", exponential_buckets(0.5, 2, 2));
  const std::string before = http_get(address, "/metrics");
  EXPECT_THAT(before, HasSubstr("200 OK"));
  for (const char* line :
       {"conclave_build_info{role=\"tester\",version=\"1.2.3\"} 1", "process_start_time_seconds ",
        "# HELP conclave_test_legs_total Legs", "conclave_test_legs_total{code=\"OK\"} 0",
        "conclave_test_queue 4", "conclave_test_seconds_bucket{le=\"0.5\"} 0",
        "conclave_test_seconds_bucket{le=\"1\"} 0",
        "conclave_test_seconds_bucket{le=\"+Inf\"} 0"}) {
    EXPECT_THAT(before, HasSubstr(line));
  }

  legs.Increment(2);
  (*metrics)->counter("conclave_test_legs_total", "Legs", {{"code", "OK"}}).Increment();
  (*metrics)->counter("conclave_test_legs_total", "Legs", {{"code", "LOST"}}).Increment();
  const std::string after = http_get(address, "/metrics");
  EXPECT_THAT(after, HasSubstr("conclave_test_legs_total{code=\"OK\"} 3"));
  EXPECT_THAT(after, HasSubstr("conclave_test_legs_total{code=\"LOST\"} 1"));
  EXPECT_THAT(http_get(address, "/"), HasSubstr("404"));
}

TEST(MetricsTest, ATakenPortIsAnErrorThatNamesIt) {
  const auto first = serve_metrics("127.0.0.1:0");
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = serve_metrics((*first)->address());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr((*first)->address()));
}

TEST(MetricsTest, OffIsOff) {
  const auto metrics = serve_metrics("off");
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  EXPECT_EQ((*metrics)->address(), "");
  (*metrics)->counter("conclave_test_total", "Still counts").Increment();
}

}  // namespace
}  // namespace conclave
