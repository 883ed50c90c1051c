// What the choice of ways must keep, with real servers of both kinds:
//   - a server with shared memory is asked through it, one without over gRPC, also when legs are
//     away on both ways at once and whichever answers first;
//   - where shared memory ends, the next leg goes by gRPC;
//   - --transport shm goes no other way, and grpc never through memory;
//   - a deadline is kept on either way and on both.

#include "services/server/leg_transport.h"

#include <gtest/gtest.h>

#include <list>
#include <random>

#include "router/wire/leg_service.h"
#include "tests/router/shm/shm_fixture.h"
#include "tests/router/wire/wire_server.h"

namespace conclave {
namespace {

constexpr ServerId kNear{1};  // over both ways
constexpr ServerId kFar{2};   // over gRPC alone

struct Sent {
  ArrivedLeg leg;
  LegReply reply;
};

class LegTransportTest : public testing::Test {
 protected:
  std::unique_ptr<LegTransport> connect(const std::string& way) {
    TransportFlags flags;
    flags.transport = way;
    auto transport = *LegTransport::create(&clock_, flags);
    ClusterView view{.version = 1};
    view.servers.push_back({.server = kNear,
                            .id = "near",
                            .address = near_server_.address(),
                            .shm_endpoint = engine_->server().endpoint()});
    view.servers.push_back({.server = kFar, .id = "far", .address = far_server_.address()});
    transport->set_servers(view);
    return transport;
  }

  Sent& send(LegTransport* transport, ServerId server) {
    Sent& sent = sent_.emplace_back();
    sent.leg = random_leg(&rng_);
    transport->send(sent.leg.view(server), &sent.reply);
    return sent;
  }

  // Waits for a leg and expects its answer, by `via`.
  void expect_answer(LegTransport* transport, const Sent& sent, std::string_view via) {
    const absl::Time until = clock_.now() + absl::Seconds(60);
    while (!sent.reply.done) ASSERT_TRUE(transport->wait(until)) << "no answer";
    ASSERT_TRUE(sent.reply.status.ok()) << sent.reply.status;
    EXPECT_EQ(sent.reply.rows, SharedBytes(say(sent.leg)));
    EXPECT_EQ(sent.reply.via, via);
  }

  // Links take a moment, in which legs go by gRPC.
  void wait_for_link(LegTransport* transport) {
    for (int i = 0; i < 10'000; ++i) {
      Sent& sent = send(transport, kNear);
      const absl::Time until = clock_.now() + absl::Seconds(60);
      while (!sent.reply.done) ASSERT_TRUE(transport->wait(until));
      if (sent.reply.via == "shm") return;
      transport->wait(clock_.now() + absl::Milliseconds(2));
    }
    FAIL() << "there is no link";
  }

  const SystemClock clock_;
  std::mt19937 rng_{3};
  std::list<Sent> sent_;  // their addresses stay
  std::unique_ptr<Engine> engine_ = std::make_unique<Engine>();
  SpeakingHandler near_handler_;
  SpeakingHandler far_handler_;
  LegService near_service_{&near_handler_, {}};
  LegService far_service_{&far_handler_, {}};
  WireServer near_server_{near_service_.service()};
  WireServer far_server_{far_service_.service()};
};

TEST_F(LegTransportTest, BothWaysAtOnce) {
  const auto transport = connect("auto");
  wait_for_link(transport.get());
  for (int i = 0; i < 200; ++i) {
    const Sent& near = send(transport.get(), kNear);
    const Sent& far = send(transport.get(), kFar);
    if (i % 2 == 0) {
      expect_answer(transport.get(), near, "shm");
      expect_answer(transport.get(), far, "grpc");
    } else {
      expect_answer(transport.get(), far, "grpc");
      expect_answer(transport.get(), near, "shm");
    }
  }
}

TEST_F(LegTransportTest, WhicheverAnswersLater) {
  const auto transport = connect("auto");
  wait_for_link(transport.get());
  for (const bool near_first : {true, false}) {
    engine_->handler().keep(true);
    far_handler_.keep(true);
    const Sent& near = send(transport.get(), kNear);
    const Sent& far = send(transport.get(), kFar);
    engine_->handler().wait_for_kept(1);
    while (far_handler_.num_kept() == 0) transport->wait(clock_.now() + absl::Milliseconds(1));
    if (near_first) {
      engine_->answer_one();
      expect_answer(transport.get(), near, "shm");
      EXPECT_FALSE(far.reply.done);
      far_handler_.take().answer();
      expect_answer(transport.get(), far, "grpc");
    } else {
      far_handler_.take().answer();
      expect_answer(transport.get(), far, "grpc");
      EXPECT_FALSE(near.reply.done);
      engine_->answer_one();
      expect_answer(transport.get(), near, "shm");
    }
  }
}

TEST_F(LegTransportTest, DeadlinesOnEveryWay) {
  const auto transport = connect("auto");
  wait_for_link(transport.get());
  engine_->handler().keep(true);
  far_handler_.keep(true);
  for (const std::vector<ServerId>& asked :
       {std::vector{kNear}, std::vector{kFar}, std::vector{kNear, kFar}}) {
    std::vector<Sent*> all;
    for (const ServerId server : asked) all.push_back(&send(transport.get(), server));
    const absl::Time until = clock_.now() + absl::Milliseconds(30);
    EXPECT_FALSE(transport->wait(until));
    EXPECT_GE(clock_.now(), until);
    for (Sent* const sent : all) {
      transport->cancel(&sent->reply, absl::DeadlineExceededError("enough"));
      EXPECT_EQ(sent->reply.status, absl::DeadlineExceededError("enough"));
    }
  }
  EXPECT_FALSE(transport->wait(clock_.now() + absl::Milliseconds(5)));  // nothing is away
  for (size_t left = engine_->handler().num_kept(); left > 0; --left) engine_->answer_one();
  while (far_handler_.num_kept() > 0) far_handler_.take().answer();
}

TEST_F(LegTransportTest, WithoutSharedMemoryByGrpc) {
  const auto transport = connect("auto");
  wait_for_link(transport.get());
  engine_.reset();
  const absl::Time until = clock_.now() + absl::Seconds(60);
  while (clock_.now() < until) {
    Sent& sent = send(transport.get(), kNear);
    while (!sent.reply.done) ASSERT_TRUE(transport->wait(until));
    if (sent.reply.status.ok()) return expect_answer(transport.get(), sent, "grpc");
    EXPECT_EQ(sent.reply.status.code(), absl::StatusCode::kUnavailable);
  }
  FAIL() << "no leg goes by gRPC";
}

TEST_F(LegTransportTest, OneWayAlone) {
  const auto by_grpc = connect("grpc");
  for (int i = 0; i < 20; ++i) {
    expect_answer(by_grpc.get(), send(by_grpc.get(), kNear), "grpc");
  }
  const auto by_shm = connect("shm");
  const Sent& far = send(by_shm.get(), kFar);
  EXPECT_TRUE(far.reply.done);
  EXPECT_EQ(far.reply.status.code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace conclave
