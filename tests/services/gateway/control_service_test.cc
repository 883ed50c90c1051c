// What control does not take: lines that never say who they are, and more lines and watchers than
// it has room for.

#include "services/gateway/control_service.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "services/server/control_codec.h"
#include "tests/gateway/fake_cluster.h"
#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

// Who calls: a line, or a watcher.
template <typename Stream>
struct Open {
  grpc::ClientContext context;
  std::unique_ptr<Stream> stream;
};
using Line = Open<grpc::ClientReaderWriter<v1::RegisterRequest, v1::RegisterResponse>>;

class ControlServiceTest : public testing::Test {
 protected:
  ControlServiceTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::Control::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                                     grpc::InsecureChannelCredentials()));
  }
  ~ControlServiceTest() override {
    service_.shutdown();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
    server_ = nullptr;
    loop_.run([] {});
  }

  std::unique_ptr<Line> open_line() {
    auto line = std::make_unique<Line>();
    line->stream = stub_->Register(&line->context);
    return line;
  }

  // Its hello is answered with a welcome.
  std::unique_ptr<Line> open_member(const ServerFacts& facts) {
    auto line = open_line();
    v1::RegisterRequest request;
    to_proto(facts, request.mutable_hello());
    EXPECT_TRUE(line->stream->Write(request));
    v1::RegisterResponse response;
    EXPECT_TRUE(line->stream->Read(&response));
    EXPECT_TRUE(response.has_welcome());
    return line;
  }

  // How a line ends that says nothing.
  grpc::Status end_of(Line* line) {
    v1::RegisterResponse response;
    while (line->stream->Read(&response)) {
    }
    return line->stream->Finish();
  }

  void pass(absl::Duration duration) {
    loop_.run([&] {
      clock_.advance(duration);
      state_.tick();
    });
  }

  static constexpr size_t kMost = 3;  // lines, and watchers of each kind

  ManualClock clock_;  // the loop's, once that runs
  const SystemClock system_clock_;
  const ModelConfig config_ = four_layers();
  Membership membership_{
      config_, &clock_, {.weights = kWeights, .silence_limit = absl::Hours(1000)}};
  PlanMakerHere planner_;
  PlacementControl placement_{
      config_, {.clock = &clock_, .membership = &membership_, .planner = &planner_}, {}};
  ClusterState state_{{.clock = &clock_, .membership = &membership_, .placement = &placement_}};
  EventLoop loop_{&system_clock_};
  ControlService service_{
      &loop_,
      &state_,
      &config_,
      {.model = "m", .routing = "local", .max_lines = kMost, .max_watchers = kMost}};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Control::Stub> stub_;
};

TEST_F(ControlServiceTest, ALineThatSaysNothingEnds) {
  const auto member = open_member(attention_node("a"));
  const auto silent = open_line();
  grpc::Status end;
  std::atomic<bool> has_ended = false;
  std::thread reader([&] {
    end = end_of(silent.get());
    has_ended = true;
  });
  while (!has_ended) {
    pass(absl::Seconds(2));
    absl::SleepFor(absl::Milliseconds(5));
  }
  reader.join();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  loop_.run([&] { EXPECT_EQ(membership_.members().size(), 1); });
  member->context.TryCancel();
}

TEST_F(ControlServiceTest, LinesOverTheLimitAreRefused) {
  std::vector<std::unique_ptr<Line>> lines;
  for (size_t i = 0; i < kMost; ++i) {
    lines.push_back(open_member(attention_node("a" + std::to_string(i))));
  }
  const auto other = open_line();
  EXPECT_EQ(end_of(other.get()).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  lines.back()->context.TryCancel();
  end_of(lines.back().get());
  for (bool gone = false; !gone;) loop_.run([&] { gone = membership_.members().size() < kMost; });
  lines.push_back(open_member(attention_node("b")));
}

TEST_F(ControlServiceTest, WatchersOverTheLimitAreRefused) {
  pass(absl::Seconds(4));  // from here on there is something to tell them
  std::vector<std::unique_ptr<Open<grpc::ClientReader<v1::NodesUpdate>>>> watchers;
  for (size_t i = 0; i <= kMost; ++i) {
    watchers.push_back(std::make_unique<Open<grpc::ClientReader<v1::NodesUpdate>>>());
    watchers.back()->stream = stub_->WatchNodes(&watchers.back()->context, {});
    v1::NodesUpdate update;
    EXPECT_EQ(watchers.back()->stream->Read(&update), i < kMost) << i;
  }
  EXPECT_EQ(watchers.back()->stream->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  watchers.pop_back();
  for (const auto& watcher : watchers) watcher->context.TryCancel();
}

}  // namespace
}  // namespace conclave
