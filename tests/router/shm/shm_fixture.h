// A ShmTransport with real links behind it.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <list>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "router/shm/shm_server.h"
#include "router/shm/shm_transport.h"
#include "tests/router/random_leg.h"
#include "tests/router/speaking_handler.h"

namespace conclave {

inline constexpr ServerId kServer{3};

// An expert server's engine thread: it polls, sleeps, and answers what the test lets go.
class Engine {
 public:
  explicit Engine(ShmServer::Options options = {}) {
    server_ = *ShmServer::open(options);
    thread_ = std::thread([this] { work(); });
  }
  ~Engine() {
    stopping_ = true;
    server_->bell()->ring();
    thread_.join();
    server_.reset();
  }

  ShmServer& server() { return *server_; }
  SpeakingHandler& handler() { return handler_; }

  // Answers the oldest kept leg, on the engine's thread as it must be.
  void answer_one() {
    ++to_answer_;
    server_->bell()->ring();
  }

 private:
  void work() {
    while (!stopping_) {
      const uint32_t ticket = server_->bell()->ticket();
      server_->poll(&handler_);
      for (; to_answer_ > 0; --to_answer_) handler_.take().answer();
      server_->bell()->wait(ticket, absl::InfiniteDuration());
    }
  }

  std::unique_ptr<ShmServer> server_;
  SpeakingHandler handler_;
  std::atomic<int> to_answer_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

struct SentByShm {
  ArrivedLeg leg;
  LegReply reply;
};

class ShmFixture : public testing::Test {
 protected:
  std::unique_ptr<ShmTransport> connect(const std::string& endpoint,
                                        ShmTransport::Options options = {}) {
    options.retry_pause = absl::Milliseconds(20);
    auto transport = *ShmTransport::create(&clock_, options);
    transport->set_servers({{{.id = kServer, .endpoint = endpoint}}});
    return transport;
  }

  bool wait_for_link(ShmTransport* transport, ServerId server = kServer) {
    const absl::Time until = soon();
    while (!transport->reaches(server) && clock_.now() < until) {
      transport->wait(clock_.now() + absl::Milliseconds(5));
    }
    return transport->reaches(server);
  }

  SentByShm& send(ShmTransport* transport, ArrivedLeg leg, ServerId server = kServer) {
    SentByShm& sent = sent_.emplace_back();
    sent.leg = std::move(leg);
    transport->send(sent.leg.view(server), &sent.reply);
    return sent;
  }
  SentByShm& send(ShmTransport* transport, ServerId server = kServer) {
    return send(transport, random_leg(&rng_), server);
  }

  absl::Time soon() const { return clock_.now() + absl::Seconds(60); }

  const absl::Status& status_of(ShmTransport* transport, SentByShm& sent) {
    const absl::Time deadline = soon();
    while (!sent.reply.done) {
      if (transport->wait(deadline)) continue;
      transport->cancel(&sent.reply, absl::DeadlineExceededError("no answer in time"));
    }
    return sent.reply.status;
  }

  void expect_said(const SentByShm& sent) {
    ASSERT_TRUE(sent.reply.done);
    ASSERT_TRUE(sent.reply.status.ok()) << sent.reply.status;
    EXPECT_EQ(sent.reply.rows, say(sent.leg));
    EXPECT_EQ(sent.reply.via, "shm");
  }

  template <typename What>
  bool eventually(const What& what) {
    const absl::Time until = soon();
    while (!what() && clock_.now() < until) usleep(1000);
    return what();
  }

  const SystemClock clock_;
  std::mt19937 rng_{1};
  std::list<SentByShm> sent_;  // their addresses stay
};

}  // namespace conclave
