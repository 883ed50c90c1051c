// The gateway's way to an attention node: what a run says is read as fast as the loop takes it; a
// node that does not answer in time loses its runs, unless it was the gateway that was away.

#include "services/gateway/grpc_node_link.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "absl/time/clock.h"

namespace conclave {
namespace {

constexpr absl::Duration kPatience = absl::Milliseconds(400);
constexpr RunHandle kRun{1};

// Writes messages for as long as it may, and answers pings when it is told to.
class FakeNode final : public v1::Attention::Service {
 public:
  FakeNode() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeNode() override {
    stopping_ = true;
    server_->Shutdown(std::chrono::system_clock::now());
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  std::atomic<int> message_ids{1};  // in each message of a run
  std::atomic<int> most_messages{0};
  std::atomic<int> num_messages{0};
  std::atomic<int> num_pings{0};
  std::atomic<int> num_unanswered{0};  // pings that hear nothing

 private:
  // NOLINTNEXTLINE(readability-identifier-naming): a door of gRPC
  grpc::Status Run(grpc::ServerContext* context, const v1::RunRequest*,
                   grpc::ServerWriter<v1::RunResponse>* stream) override {
    v1::RunResponse message;
    for (int i = 0; i < message_ids; ++i) message.add_ids(1'000'000);
    while (num_messages < most_messages && stream->Write(message)) ++num_messages;
    while (!stopping_ && !context->IsCancelled()) absl::SleepFor(absl::Milliseconds(5));
    return grpc::Status::OK;
  }

  // NOLINTNEXTLINE(readability-identifier-naming): a door of gRPC
  grpc::Status Ping(grpc::ServerContext* context, const v1::PingRequest*,
                    v1::PingResponse*) override {
    ++num_pings;
    if (num_unanswered-- <= 0) return grpc::Status::OK;
    while (!stopping_ && !context->IsCancelled()) absl::SleepFor(absl::Milliseconds(5));
    return grpc::Status::CANCELLED;
  }

  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::unique_ptr<grpc::Server> server_;
};

class GrpcNodeLinkTest : public testing::Test {
 protected:
  GrpcNodeLinkTest() {
    loop_.run([this] {
      link_ = std::make_unique<GrpcNodeLink>(&loop_, &clock_, kPatience);
      link_->set_listener(
          {.on_tokens = [this](RunHandle, RunBatch batch) { num_ids_ += batch.ids.size(); },
           .on_run_finished = [](RunHandle, RunEnd) {},
           .on_run_failed = [this](RunHandle, const absl::Status&) { ++num_failed_; }});
      link_->set_nodes({{.server = ServerId{0},
                         .incarnation = 1,
                         .id = "node",
                         .address = node_.address(),
                         .cache_tokens = 1000,
                         .max_requests = 4}});
    });
  }

  ~GrpcNodeLinkTest() override {
    loop_.run([this] { link_->cancel_all(); });
    for (bool busy = true; busy;) {
      loop_.run([&] { busy = link_->has_calls(); });
    }
    loop_.run([this] { link_ = nullptr; });
  }

  void run() {
    loop_.run([this] { link_->run(ServerId{0}, kRun, {.id = "r", .prompt = {1}}); });
  }

  template <typename Condition>
  bool eventually(const Condition& condition) {
    const absl::Time end = clock_.now() + absl::Seconds(20);
    while (!condition() && clock_.now() < end) absl::SleepFor(absl::Milliseconds(2));
    return condition();
  }

  // The loop does nothing else, as in a process that is stopped.
  void be_away(absl::Duration duration) {
    loop_.run([duration] { absl::SleepFor(duration); });
  }

  const SystemClock clock_;
  FakeNode node_;
  std::unique_ptr<GrpcNodeLink> link_;
  std::atomic<size_t> num_ids_{0};
  std::atomic<int> num_failed_{0};
  EventLoop loop_{&clock_, [this] { return link_ ? link_->look() : absl::InfiniteFuture(); }};
};

TEST_F(GrpcNodeLinkTest, ALoopThatIsBehindHoldsUpTheNode) {
  node_.message_ids = 1'000'000;  // 3 MB
  node_.most_messages = 20;
  run();
  loop_.run([&] {
    absl::SleepFor(absl::Seconds(1));
    EXPECT_LT(node_.num_messages, 10);
  });
  EXPECT_TRUE(eventually([&] { return num_ids_ == 20'000'000; }));
}

TEST_F(GrpcNodeLinkTest, ASilentNodeLosesItsRuns) {
  run();
  ASSERT_TRUE(eventually([&] { return node_.num_pings >= 2; }));
  EXPECT_EQ(num_failed_, 0);
  node_.num_unanswered = 1000;
  EXPECT_TRUE(eventually([&] { return num_failed_ >= 1; }));
}

TEST_F(GrpcNodeLinkTest, OurOwnAbsenceIsNoSilence) {
  run();
  ASSERT_TRUE(eventually([&] { return node_.num_pings >= 1; }));
  // The next ping's time passes while the loop is away.
  node_.num_unanswered = 1;
  ASSERT_TRUE(eventually([&] { return node_.num_unanswered == 0; }));
  be_away(2 * kPatience);
  const int num_pings = node_.num_pings;
  ASSERT_TRUE(eventually([&] { return node_.num_pings >= num_pings + 3; }));
  EXPECT_EQ(num_failed_, 0);
}

TEST_F(GrpcNodeLinkTest, AGatewayThatIsAwayAllTheTimeStillLosesSilentNodes) {
  run();
  ASSERT_TRUE(eventually([&] { return node_.num_pings >= 1; }));
  node_.num_unanswered = 1000;
  for (int i = 0; i < 20 && num_failed_ == 0; ++i) be_away(absl::Milliseconds(300));
  EXPECT_TRUE(eventually([&] { return num_failed_ >= 1; }));
}

}  // namespace
}  // namespace conclave
