// What the proxy does to lines, and what it leaves alone:
//   - without a fault, and with delay, every byte arrives in order, and so does the end;
//   - a stall loses nothing; what half-open and partition swallow ends with a reset;
//   - corruption flips bits and moves none, the same ones for the same seed;
//   - who connects during a partition, or to nobody, is refused.

#include "tests/chaos/fault_proxy.h"

#include <gtest/gtest.h>

#include <numeric>
#include <optional>
#include <string>

#include "absl/time/clock.h"
#include "tests/chaos/plain_socket.h"

namespace conclave {
namespace {

std::string numbered_bytes(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + i / 256);
  return bytes;
}

int num_different_bits(const std::string& a, const std::string& b) {
  int count = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    count += __builtin_popcount(static_cast<unsigned char>(a[i] ^ b[i]));
  }
  return count;
}

class FaultProxyTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto address = proxy_.add_link("line", listener_.port());
    ASSERT_TRUE(address.ok());
    port_ = std::stoi(address->substr(address->find(':') + 1));
    client_.emplace(PlainSocket::connect_to(port_));
    server_.emplace(listener_.accept());
  }

  PlainListener listener_;
  FaultProxy proxy_{/*seed=*/5};
  int32_t port_ = 0;
  std::optional<PlainSocket> client_;
  std::optional<PlainSocket> server_;
};

TEST_F(FaultProxyTest, PassesEverythingOnBothWays) {
  const std::string bytes = numbered_bytes(3 << 20);  // more than all buffers hold
  client_->send_in_background(bytes);
  EXPECT_EQ(server_->receive(bytes.size()), bytes);
  server_->send_in_background(bytes);
  EXPECT_EQ(client_->receive(bytes.size()), bytes);
}

TEST_F(FaultProxyTest, PassesTheEndOnAndLeavesTheOtherWayOpen) {
  client_->send("last words");
  client_->end_output();
  EXPECT_EQ(server_->receive(10), "last words");
  EXPECT_TRUE(server_->is_ended());
  server_->send("answer");
  EXPECT_EQ(client_->receive(6), "answer");
}

TEST_F(FaultProxyTest, DelaysInOrder) {
  proxy_.set_fault("line", {.kind = WireFault::Kind::kDelay,
                            .delay = absl::Milliseconds(30),
                            .jitter = absl::Milliseconds(20)});
  const absl::Time begin = absl::Now();
  client_->send("a");
  absl::SleepFor(absl::Milliseconds(5));
  client_->send("b");
  EXPECT_EQ(server_->receive(2), "ab");
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(30));
}

TEST_F(FaultProxyTest, AStallLosesNothing) {
  proxy_.set_fault("line", {.kind = WireFault::Kind::kStall});
  client_->send("held");
  EXPECT_FALSE(server_->has_bytes_within(absl::Milliseconds(50)));
  proxy_.set_fault("line", {});
  EXPECT_EQ(server_->receive(4), "held");
}

TEST_F(FaultProxyTest, HalfOpenSilencesOneWayAndEndsInAReset) {
  proxy_.set_fault("line", {.kind = WireFault::Kind::kHalfOpen, .silent = Direction::kToClient});
  client_->send("question");
  EXPECT_EQ(server_->receive(8), "question");
  server_->send("answer");
  EXPECT_FALSE(client_->has_bytes_within(absl::Milliseconds(50)));
  proxy_.set_fault("line", {});
  EXPECT_TRUE(client_->is_reset());
}

TEST_F(FaultProxyTest, APartitionSwallowsAndRefuses) {
  proxy_.set_fault("line", {.kind = WireFault::Kind::kPartition});
  client_->send("nobody hears");
  EXPECT_FALSE(server_->has_bytes_within(absl::Milliseconds(50)));
  EXPECT_TRUE(PlainSocket::connect_to(port_).is_reset());
  proxy_.set_fault("line", {});
  EXPECT_TRUE(server_->is_reset());
  PlainSocket again = PlainSocket::connect_to(port_);
  again.send("hello");
  EXPECT_EQ(listener_.accept().receive(5), "hello");
}

TEST_F(FaultProxyTest, APartitionHidesThatAPeerDied) {
  proxy_.set_fault("line", {.kind = WireFault::Kind::kPartition});
  server_.reset();
  EXPECT_FALSE(client_->has_bytes_within(absl::Milliseconds(50)));
  proxy_.set_fault("line", {});
  EXPECT_TRUE(client_->is_reset());
}

TEST_F(FaultProxyTest, CorruptionFlipsBitsAndMovesNone) {
  const std::string bytes = numbered_bytes(100'000);
  proxy_.set_fault("line", {.kind = WireFault::Kind::kCorrupt, .flip_every = 1000});
  client_->send_in_background(bytes);
  const std::string damaged = server_->receive(bytes.size());
  ASSERT_EQ(damaged.size(), bytes.size());
  const int count = num_different_bits(bytes, damaged);
  EXPECT_GT(count, 50);
  EXPECT_LT(count, 200);
  EXPECT_EQ(proxy_.counts("line").num_flipped, count);
}

TEST_F(FaultProxyTest, ResetsAllOnce) {
  proxy_.reset("line");
  EXPECT_TRUE(client_->is_reset());
  EXPECT_TRUE(server_->is_reset());
  EXPECT_EQ(proxy_.counts("line").num_reset, 1);
  PlainSocket again = PlainSocket::connect_to(port_);
  again.send("x");
  EXPECT_EQ(listener_.accept().receive(1), "x");
}

TEST_F(FaultProxyTest, WithNobodyBehindItAConnectionIsReset) {
  listener_.close();
  EXPECT_TRUE(PlainSocket::connect_to(port_).is_reset());
}

TEST(FaultPipeTest, DamagesTheSameBitsForTheSameSeedHoweverBytesCome) {
  const WireFault fault{.kind = WireFault::Kind::kCorrupt, .flip_every = 50};
  const std::string bytes = numbered_bytes(1000);
  const auto through = [&](uint64_t seed, size_t piece) {
    FaultPipe pipe(Direction::kToServer, seed);
    std::string out;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      pipe.take(std::string_view(bytes).substr(at, piece), fault, absl::UnixEpoch());
      const std::string_view ready = pipe.ready(fault, absl::UnixEpoch());
      out += ready;
      pipe.consume(ready.size());
    }
    return out;
  };
  EXPECT_EQ(through(3, 1000), through(3, 7));
  EXPECT_NE(through(3, 1000), through(4, 1000));
  EXPECT_NE(through(3, 1000), bytes);
}

}  // namespace
}  // namespace conclave
