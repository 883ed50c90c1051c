// A GrpcTransport with one real server behind it, for the tests of both.
#pragma once

#include <gtest/gtest.h>

#include <list>
#include <memory>
#include <random>
#include <string>

#include "router/wire/grpc_transport.h"
#include "router/wire/leg_service.h"
#include "tests/router/speaking_handler.h"
#include "tests/router/wire/frames.h"
#include "tests/router/wire/wire_server.h"

namespace conclave {

inline constexpr ServerId kServer{3};

// A leg with what it is made of.
struct Sent {
  ArrivedLeg leg;
  LegReply reply;
};

class TransportFixture : public testing::Test {
 protected:
  TransportFixture()
      : service_(&handler_, {.max_legs_in_flight = 64}), server_(service_.service()) {}

  std::unique_ptr<GrpcTransport> connect(const std::string& address,
                                         GrpcTransport::Options options = {}) {
    auto transport = std::make_unique<GrpcTransport>(&clock_, options);
    transport->set_servers({{{.id = kServer, .address = address}}});
    return transport;
  }
  std::unique_ptr<GrpcTransport> connect(GrpcTransport::Options options = {}) {
    return connect(server_.address(), options);
  }

  Sent& send(GrpcTransport* transport, ServerId server = kServer, Lane lane = Lane::kDecode) {
    Sent& sent = sent_.emplace_back();
    sent.leg = random_leg(&rng_);
    LegRequest request = sent.leg.view(server);
    request.lane = lane;
    transport->send(request, &sent.reply);
    return sent;
  }

  absl::Time soon() const { return clock_.now() + absl::Seconds(60); }

  // Waits for one leg, which is given up when it takes too long.
  const absl::Status& status_of(GrpcTransport* transport, Sent& sent, absl::Time deadline) {
    while (!sent.reply.done) {
      if (transport->wait(deadline)) continue;
      transport->cancel(&sent.reply, absl::DeadlineExceededError("no answer in time"));
    }
    return sent.reply.status;
  }
  const absl::Status& status_of(GrpcTransport* transport, Sent& sent) {
    return status_of(transport, sent, soon());
  }

  void expect_said(const Sent& sent) {
    ASSERT_TRUE(sent.reply.done);
    ASSERT_TRUE(sent.reply.status.ok()) << sent.reply.status;
    EXPECT_EQ(sent.reply.rows, say(sent.leg));
  }

  // Sends until a leg comes back well.
  void expect_comes_back(GrpcTransport* transport) {
    const absl::Time until = soon();
    while (clock_.now() < until) {
      Sent& sent = send(transport);
      if (status_of(transport, sent).ok()) return expect_said(sent);
      EXPECT_EQ(sent.reply.status.code(), absl::StatusCode::kUnavailable) << sent.reply.status;
      transport->wait(clock_.now() + absl::Milliseconds(10));
    }
    FAIL() << "the server is there and no leg reaches it";
  }

  const SystemClock clock_;
  std::mt19937 rng_{1};
  SpeakingHandler handler_;
  LegService service_;
  WireServer server_;
  std::list<Sent> sent_;  // their addresses stay
};

}  // namespace conclave
