// What a gateway that routes makes of bad layers (contract C5), as bad_legs_test.cc for legs; and
// one that does not route says so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "proto/moe_layer.pb.h"
#include "tests/cluster/frame_client.h"
#include "tests/cluster/sturdy_cluster.h"

namespace conclave {
namespace {

using testing::HasSubstr;
using Code = absl::StatusCode;

constexpr char kMethod[] = "/conclave.v1.MoeLayer/Forward";
constexpr int32_t kNumCols = 72;  // of moonlight
constexpr int32_t kMaxRows = 64;  // --max-route-tokens
constexpr size_t kRowBytes = kNumCols * sizeof(float);

v1::MoeForwardRequest good_layer(int32_t num_rows = 3) {
  std::string data;
  for (int32_t i = 0; i < num_rows * kNumCols; ++i) {
    const float value = static_cast<float>(i * 31 % 17 - 8) / 8;
    data.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  v1::MoeForwardRequest layer;
  layer.set_sequence(9);
  layer.set_layer_idx(2);
  layer.mutable_hidden()->set_dtype(v1::DTYPE_F32);
  layer.mutable_hidden()->set_num_rows(num_rows);
  layer.mutable_hidden()->set_num_cols(kNumCols);
  layer.mutable_hidden()->set_data(std::move(data));
  return layer;
}

class BadLayersTest : public SturdyCluster {
 protected:
  static void SetUpTestSuite() {
    LocalCluster::Options options = cluster_of(golden_dir("moonlight"), 1, 2);
    options.routing = "gateway";
    options.gateway_flags = {"--max-route-tokens=64", "--threads=1"};
    options.node_flags.push_back("--prefill-chunk=32");
    options.node_flags.push_back("--max-running=8");
    start(std::move(options));
  }

  void SetUp() override {
    FrameClient client(address(), kMethod);
    const v1::MoeForwardResponse response = answer_to(&client, good_layer());
    ASSERT_EQ(response.status().code(), 0) << response.status().message();
    said_ = response.out().data();
    ASSERT_EQ(said_.size(), 3 * kRowBytes);
  }

  static v1::MoeForwardResponse answer_to(FrameClient* client, const v1::MoeForwardRequest& layer) {
    client->write(layer.SerializeAsString());
    const auto frame = client->read();
    v1::MoeForwardResponse response;
    if (!frame) {
      ADD_FAILURE() << "no answer: " << client->wait_for_end();
      return response;
    }
    EXPECT_TRUE(response.ParseFromString(*frame));
    EXPECT_EQ(response.sequence(), layer.sequence());
    return response;
  }

  void expect_good_answer(FrameClient* client) {
    const v1::MoeForwardResponse response = answer_to(client, good_layer());
    EXPECT_EQ(response.status().code(), 0) << response.status().message();
    EXPECT_EQ(response.faults_size(), 0);
    EXPECT_TRUE(response.out().data() == said_) << "other bits after a bad frame";
  }

  void expect_end(const std::string& frame, Code code, const char* word) {
    FrameClient client(address(), kMethod);
    expect_good_answer(&client);
    client.write(frame);
    const absl::Status end = client.wait_for_end();
    EXPECT_EQ(end.code(), code) << end;
    EXPECT_THAT(std::string(end.message()), HasSubstr(word));
    FrameClient next(address(), kMethod);
    expect_good_answer(&next);
  }

  std::string said_;
};

TEST_F(BadLayersTest, WrongLayersAreRefusedAndTheStreamGoesOn) {
  const auto rows = [](v1::MoeForwardRequest* layer) { return layer->mutable_hidden(); };
  const struct {
    const char* what;
    std::function<void(v1::MoeForwardRequest*)> spoil;
    const char* word;
  } cases[] = {
      {"no rows", [](auto* layer) { layer->clear_hidden(); }, "without rows"},
      {"bf16",
       [&](auto* layer) {
         rows(layer)->set_dtype(v1::DTYPE_BF16);
         rows(layer)->mutable_data()->resize(3 * kRowBytes / 2);
       },
       "rows of bf16; a layer's are f32"},
      {"fp8",
       [&](auto* layer) {
         rows(layer)->set_dtype(v1::DTYPE_F8E4M3);
         rows(layer)->mutable_data()->resize(3 * (kNumCols + 4));
       },
       "rows of fp8; a layer's are f32"},
      {"unknown dtype", [&](auto* layer) { rows(layer)->set_dtype(static_cast<v1::DType>(9)); },
       "type 9"},
      {"a byte too few", [&](auto* layer) { rows(layer)->mutable_data()->pop_back(); }, "bytes"},
      {"overflow",
       [&](auto* layer) {
         rows(layer)->set_num_rows(INT32_MAX);
         rows(layer)->set_num_cols(INT32_MAX);
       },
       "2147483647 rows"},
      {"rows below zero", [&](auto* layer) { rows(layer)->set_num_rows(-3); }, "-3 rows"},
      {"other columns",
       [&](auto* layer) {
         rows(layer)->set_num_rows(6);
         rows(layer)->set_num_cols(kNumCols / 2);
       },
       "36 columns, the model has 72"},
      {"dense layer", [](auto* layer) { layer->set_layer_idx(0); }, "layer 0"},
      {"layer above", [](auto* layer) { layer->set_layer_idx(3); }, "layer 3"},
      {"layer below", [](auto* layer) { layer->set_layer_idx(-1); }, "layer -1"},
      {"last layer there is", [](auto* layer) { layer->set_layer_idx(INT32_MAX); }, "layer 21474"},
      {"too many rows", [](auto* layer) { *layer = good_layer(kMaxRows + 1); },
       "65 rows at once, the limit is 64"},
  };
  FrameClient client(address(), kMethod);
  for (const auto& c : cases) {
    v1::MoeForwardRequest layer = good_layer();
    c.spoil(&layer);
    const v1::MoeForwardResponse response = answer_to(&client, layer);
    EXPECT_EQ(response.status().code(), static_cast<int>(Code::kInvalidArgument))
        << c.what << ": " << response.status().message();
    EXPECT_THAT(response.status().message(), HasSubstr(c.word)) << c.what;
    EXPECT_FALSE(response.has_out()) << c.what;
    expect_good_answer(&client);
  }
}

TEST_F(BadLayersTest, AsManyRowsAsTheLimitAndNoneAreServed) {
  FrameClient client(address(), kMethod);
  for (const int32_t num_rows : {kMaxRows, 0}) {
    const v1::MoeForwardResponse response = answer_to(&client, good_layer(num_rows));
    EXPECT_EQ(response.status().code(), 0) << response.status().message();
    EXPECT_EQ(response.out().num_rows(), num_rows);
  }
}

TEST_F(BadLayersTest, ARowThatIsNotFiniteFaultsItsTokenAlone) {
  FrameClient client(address(), kMethod);
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    v1::MoeForwardRequest layer = good_layer();
    std::memcpy(layer.mutable_hidden()->mutable_data()->data() + kRowBytes, &bad, sizeof(bad));
    const v1::MoeForwardResponse response = answer_to(&client, layer);
    EXPECT_EQ(response.status().code(), 0) << response.status().message();
    ASSERT_EQ(response.faults_size(), 1);
    EXPECT_EQ(response.faults(0).token_idx(), 1);
    EXPECT_EQ(response.faults(0).status().code(), static_cast<int>(Code::kInternal));
    EXPECT_THAT(response.faults(0).status().message(), HasSubstr("not finite"));
    ASSERT_EQ(response.out().data().size(), said_.size());
    EXPECT_TRUE(response.out().data().substr(0, kRowBytes) == said_.substr(0, kRowBytes));
    EXPECT_TRUE(response.out().data().substr(2 * kRowBytes) == said_.substr(2 * kRowBytes));
    expect_good_answer(&client);
  }
}

TEST_F(BadLayersTest, FramesThatCannotBeReadEndTheirStream) {
  const std::string layer = good_layer().SerializeAsString();
  const std::string checked = with_checksum(layer);
  expect_end(with_flipped_bit(checked, 8 * checked.size() - 1), Code::kDataLoss, "checksum");
  expect_end(checked.substr(0, checked.size() - 1), Code::kDataLoss, "checksum");
  expect_end(checked.substr(0, 2), Code::kInvalidArgument, "checksum");
  expect_end(layer.substr(0, layer.size() / 2), Code::kInvalidArgument, "a frame that is no");
  expect_end(std::string(1000, '\xff'), Code::kInvalidArgument, "a frame");
  expect_end(std::string((64 << 20) + 1, '\0'), Code::kResourceExhausted, "larger than max");
}

TEST_F(BadLayersTest, TheEmptyMessageIsALayerOfNothing) {
  FrameClient client(address(), kMethod);
  const v1::MoeForwardResponse response = answer_to(&client, {});
  EXPECT_EQ(response.status().code(), static_cast<int>(Code::kInvalidArgument));
  expect_good_answer(&client);
}

// Legs are not the gateway's, nor layers an expert server's.
TEST_F(BadLayersTest, AnotherServersMethodIsUnimplemented) {
  FrameClient legs(address(), "/conclave.v1.Experts/Forward");
  EXPECT_EQ(legs.wait_for_end().code(), Code::kUnimplemented);
  FrameClient layers(address_of(ClusterRole::kExpertServer, 0), kMethod);
  EXPECT_EQ(layers.wait_for_end().code(), Code::kUnimplemented);
}

class LayersElsewhereTest : public SturdyCluster {
 protected:
  static void SetUpTestSuite() { start(cluster_of(golden_dir("moonlight"), 1, 1)); }
};

TEST_F(LayersElsewhereTest, AGatewayThatDoesNotRouteSaysSo) {
  FrameClient client(address(), kMethod);
  client.write(good_layer().SerializeAsString());
  EXPECT_EQ(client.wait_for_end().code(), Code::kUnimplemented);
}

}  // namespace
}  // namespace conclave
