// A ping is answered at once while the step thread gets on with its work, layer by layer, and is
// UNAVAILABLE while it hangs.

#include "services/attention_node/attention_service.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <string>

#include "services/attention_node/watched_moe_layer.h"
#include "services/server/progress_watch.h"
#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(60);

// Every call of it takes as long as a test says.
class SlowLayer final : public MoeLayer {
 public:
  explicit SlowLayer(ManualClock* clock) : clock_(clock) {}

  std::unique_ptr<MoeStep> new_step() override { return std::make_unique<MoeStep>(); }
  absl::Status begin(int32_t, Rows<const float>, MoeStep*) override { return pass(); }
  absl::Status finish(MoeStep*, Rows<float>) override { return pass(); }

  absl::Duration takes;

 private:
  absl::Status pass() {
    clock_->advance(takes);
    return absl::OkStatus();
  }

  ManualClock* const clock_;
};

TEST(WatchedMoeLayer, ALongStepGetsOnLayerByLayer) {
  ManualClock clock;
  ProgressWatch watch(&clock);
  SlowLayer slow(&clock);
  WatchedMoeLayer layer(&slow, &watch);
  const auto step = layer.new_step();
  slow.takes = kLimit / 2;
  for (int32_t i = 0; i < 61; ++i) {
    ASSERT_TRUE(layer.begin(i, {}, step.get()).ok());
    EXPECT_FALSE(watch.is_stuck(kLimit));
    ASSERT_TRUE(layer.finish(step.get(), {}).ok());
    EXPECT_FALSE(watch.is_stuck(kLimit));
  }
  clock.advance(2 * kLimit);
  EXPECT_TRUE(watch.is_stuck(kLimit));
}

TEST(AttentionService, APingSaysWhetherTheStepThreadHangs) {
  std::atomic<bool> is_stuck = false;
  AttentionService service(
      /*loop=*/nullptr, [](const absl::Status&) {}, [&] { return is_stuck.load(); });
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  const auto stub = v1::Attention::NewStub(
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  const auto ping = [&] {
    grpc::ClientContext context;
    v1::PingResponse response;
    return stub->Ping(&context, {}, &response).error_code();
  };
  EXPECT_EQ(ping(), grpc::StatusCode::OK);
  is_stuck = true;
  EXPECT_EQ(ping(), grpc::StatusCode::UNAVAILABLE);
  is_stuck = false;
  EXPECT_EQ(ping(), grpc::StatusCode::OK);
}

}  // namespace
}  // namespace conclave
