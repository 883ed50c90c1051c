// Invariants: a server is registered while and only while a line stands; it comes back by itself;
// it ends only for what a person has to mend; leaving takes it out at once.

#include "services/server/control_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "absl/time/clock.h"
#include "services/server/placement_watcher.h"
#include "tests/services/server/fake_control.h"
#include "tests/services/server/small_config.h"

namespace conclave {
namespace {

using testing::HasSubstr;

class ControlClientTest : public testing::Test {
 protected:
  ControlClientTest() { control_.start(); }

  std::unique_ptr<ControlClient> client() {
    ServerFacts facts{.role = ServerRole::kExpertServer,
                      .id = "expert-0",
                      .incarnation = 11,
                      .address = "127.0.0.1:4000",
                      .capacity_bytes = 100,
                      .held_bytes = 50,
                      .held = ExpertSet::all(small_config())};
    return std::make_unique<ControlClient>(
        ControlClient::Options{.control = control_.address(),
                               .facts = std::move(facts),
                               .first_pause = absl::Milliseconds(10),
                               .longest_pause = absl::Milliseconds(50),
                               .refused_pause = absl::Milliseconds(20)},
        ControlClient::Listener{
            .heartbeat =
                [this] {
                  return Heartbeat{.experts = {.num_queued_legs = 5,
                                               .picks = std::vector<int64_t>(num_picks_, 1)}};
                },
            .on_registered = [this] { ++num_registered_; },
            .on_refused =
                [this](const absl::Status& why) {
                  refused_ = why;
                  ++num_refused_;
                }});
  }

  bool eventually(const std::function<bool()>& condition) { return control_.eventually(condition); }

  FakeControl control_;
  std::atomic<size_t> num_picks_ = 0;  // in a heartbeat: how long it is
  std::atomic<int> num_registered_ = 0;
  std::atomic<int> num_refused_ = 0;
  absl::Status refused_;  // once num_refused_ says so
};

TEST_F(ControlClientTest, SaysWhoItIsAndHowItIs) {
  const auto client = this->client();
  ASSERT_TRUE(eventually([&] { return client->registered(); }));
  ASSERT_TRUE(eventually([&] { return control_.heartbeats().size() >= 3; }));
  EXPECT_TRUE(client->ever_registered());
  EXPECT_EQ(num_registered_, 1);
  EXPECT_EQ(control_.hellos().front().server_id(), "expert-0");
  EXPECT_EQ(control_.hellos().front().incarnation(), 11);
  EXPECT_EQ(control_.heartbeats().front().experts().num_queued_legs(), 5);
  EXPECT_FALSE(control_.heartbeats().front().draining());
}

TEST_F(ControlClientTest, LeavesAtOnce) {
  const auto client = this->client();
  ASSERT_TRUE(eventually([&] { return client->registered(); }));
  const absl::Time start = absl::Now();
  client->leave();
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  EXPECT_FALSE(client->registered());
  EXPECT_TRUE(eventually([&] { return control_.num_lines() == 0; }));
  client->leave();
}

TEST_F(ControlClientTest, ComesBackWhenControlDoes) {
  const auto client = this->client();
  for (int round = 1; round <= 3; ++round) {
    ASSERT_TRUE(eventually([&] { return client->registered() && num_registered_ == round; }));
    control_.stop();
    ASSERT_TRUE(eventually([&] { return !client->registered(); }));
    EXPECT_TRUE(client->ever_registered());
    control_.start();
  }
  ASSERT_TRUE(eventually([&] { return client->registered(); }));
  EXPECT_EQ(control_.hellos().back().incarnation(), 11);
  EXPECT_EQ(num_refused_, 0);
}

TEST_F(ControlClientTest, WaitsForAControlThatIsNotThereYet) {
  control_.stop();
  const auto client = this->client();
  absl::SleepFor(absl::Milliseconds(200));
  EXPECT_FALSE(client->ever_registered());
  control_.start();
  EXPECT_TRUE(eventually([&] { return client->registered(); }));
}

TEST_F(ControlClientTest, ATakenNameIsTriedAgain) {
  control_.answer({grpc::StatusCode::ALREADY_EXISTS, "expert-0 lives"});
  const auto client = this->client();
  ASSERT_TRUE(eventually([&] { return control_.hellos().size() >= 3; }));
  EXPECT_FALSE(client->registered());
  control_.answer(grpc::Status::OK);
  EXPECT_TRUE(eventually([&] { return client->registered(); }));
  EXPECT_EQ(num_refused_, 0);
}

TEST_F(ControlClientTest, OtherWeightsEndIt) {
  for (const auto code :
       {grpc::StatusCode::FAILED_PRECONDITION, grpc::StatusCode::INVALID_ARGUMENT}) {
    num_refused_ = 0;
    control_.answer({code, "other weights"});
    const auto client = this->client();
    ASSERT_TRUE(eventually([&] { return num_refused_ == 1; }));
    EXPECT_EQ(static_cast<int>(refused_.code()), static_cast<int>(code));
    EXPECT_THAT(std::string(refused_.message()), HasSubstr("other weights"));
    const size_t num_hellos = control_.hellos().size();
    absl::SleepFor(absl::Milliseconds(100));
    EXPECT_EQ(control_.hellos().size(), num_hellos);
    EXPECT_FALSE(client->registered());
  }
}

TEST_F(ControlClientTest, OnceLetInARefusalIsTriedAgain) {
  const auto client = this->client();
  ASSERT_TRUE(eventually([&] { return client->registered(); }));
  control_.answer({grpc::StatusCode::FAILED_PRECONDITION, "another model now"});
  control_.stop();
  control_.start();
  ASSERT_TRUE(eventually([&] { return control_.hellos().size() >= 3; }));
  EXPECT_EQ(num_refused_, 0);
  control_.answer(grpc::Status::OK);
  EXPECT_TRUE(eventually([&] { return client->registered(); }));
}

TEST_F(ControlClientTest, DrainsUntilControlLetsItGo) {
  const auto client = this->client();
  ASSERT_TRUE(eventually([&] { return client->registered(); }));
  client->drain();
  ASSERT_TRUE(eventually([&] {
    const std::vector<v1::Heartbeat> beats = control_.heartbeats();
    return !beats.empty() && beats.back().draining();
  }));
  EXPECT_FALSE(client->may_leave());
  control_.say_goodbye();
  EXPECT_TRUE(eventually([&] { return client->may_leave(); }));
  EXPECT_TRUE(client->registered());
}

TEST_F(ControlClientTest, NewsBehindASlowWriteWaitAndCutNoLine) {
  control_.set_heartbeat(60'000);
  num_picks_ = 3'000'000;  // more than gRPC takes before the other side reads
  control_.stop_reading();
  const auto client = this->client();
  ASSERT_TRUE(eventually([&] { return control_.heartbeats().size() == 1; }));
  for (int i = 0; i < 20; ++i) {
    client->beat_now();
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_TRUE(client->registered());
  EXPECT_EQ(control_.heartbeats().size(), 1);
  // One was on its way, and one comes after it: with what there is to say now.
  control_.go_on();
  EXPECT_TRUE(eventually([&] { return control_.heartbeats().size() == 3; }));
  EXPECT_EQ(num_registered_, 1);
}

v1::PlacementUpdate placement(int64_t version) {
  v1::PlacementUpdate update;
  update.set_version(version);
  v1::PlacedServer* const server = update.add_servers();
  server->set_server_no(4);
  server->set_address("127.0.0.1:4000");
  return update;
}

TEST_F(ControlClientTest, PlacementsAreFollowedAcrossRestarts) {
  const ModelConfig config = small_config();
  control_.publish(placement(1));
  std::mutex mutex;
  std::vector<int64_t> versions;
  const auto seen = [&] {
    const std::lock_guard lock(mutex);
    return versions;
  };
  {
    const PlacementWatcher watcher({.control = control_.address(),
                                    .server_id = "node-0",
                                    .config = &config,
                                    .first_pause = absl::Milliseconds(10)},
                                   [&](const ClusterView& view) {
                                     const std::lock_guard lock(mutex);
                                     versions.push_back(view.version);
                                   });
    ASSERT_TRUE(eventually([&] { return seen().size() == 1; }));
    control_.publish(placement(2));
    ASSERT_TRUE(eventually([&] { return seen().size() == 2; }));

    v1::PlacementUpdate bad = placement(3);
    bad.mutable_servers(0)->mutable_held()->add_layers()->set_layer_idx(99);
    control_.publish(bad);
    control_.publish(placement(4));
    ASSERT_TRUE(eventually([&] { return seen().size() == 3; }));
    EXPECT_EQ(seen(), (std::vector<int64_t>{1, 2, 4}));

    control_.stop();
    control_.publish(placement(5));
    absl::SleepFor(absl::Milliseconds(50));
    EXPECT_EQ(seen().size(), 3);
    control_.start();
    ASSERT_TRUE(eventually([&] { return seen().back() == 5; }));
  }
  const size_t num_seen = seen().size();
  control_.publish(placement(6));
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_EQ(seen().size(), num_seen);
}

}  // namespace
}  // namespace conclave
