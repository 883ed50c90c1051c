// What an expert server that runs makes of bad legs (contract C5):
//   - a leg that can be read and is wrong gets its own status, and its stream goes on;
//   - a frame that cannot be read, or is damaged, ends its stream alone;
//   - a row that is not finite harms no other row;
//   - after each of them a good leg gets the bits that it got before.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "proto/experts.pb.h"
#include "tests/cluster/frame_client.h"
#include "tests/cluster/sturdy_cluster.h"

namespace conclave {
namespace {

using testing::HasSubstr;
using Code = absl::StatusCode;

constexpr char kMethod[] = "/conclave.v1.Experts/Forward";
constexpr int32_t kNumCols = 72;  // of moonlight: 24 experts in layers 1 and 2

void set_rows(v1::ForwardRequest* leg, int32_t num_rows) {
  leg->clear_pick_begin();
  leg->clear_pick_expert();
  leg->add_pick_begin(0);
  std::string data;
  for (int32_t m = 0; m < num_rows; ++m) {
    leg->add_pick_expert(1);
    leg->add_pick_expert(5);
    leg->add_pick_begin(2 * (m + 1));
    for (int32_t c = 0; c < kNumCols; ++c) {
      const float value = static_cast<float>((m + 3 * c) % 7 - 3) / 4;
      data.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
  }
  v1::Rows* const rows = leg->mutable_hidden();
  rows->set_dtype(v1::DTYPE_F32);
  rows->set_num_rows(num_rows);
  rows->set_num_cols(kNumCols);
  rows->set_data(std::move(data));
}

v1::ForwardRequest good_leg() {
  v1::ForwardRequest leg;
  leg.set_sequence(7);
  leg.set_layer_idx(1);
  leg.set_reply_type(v1::DTYPE_F32);
  set_rows(&leg, 3);
  return leg;
}

class BadLegsTest : public SturdyCluster {
 protected:
  static void SetUpTestSuite() { start(cluster_of(golden_dir("moonlight"), 1, 2)); }

  void SetUp() override {
    FrameClient client = open();
    said_ = said_to(&client, good_leg());
    ASSERT_EQ(said_.size(), size_t{6} * kNumCols);
  }

  static FrameClient open() {
    return FrameClient(address_of(ClusterRole::kExpertServer, 0), kMethod);
  }

  static v1::ForwardResponse answer_to(FrameClient* client, const v1::ForwardRequest& leg) {
    client->write(leg.SerializeAsString());
    const auto frame = client->read();
    v1::ForwardResponse response;
    if (!frame) {
      ADD_FAILURE() << "no answer: " << client->wait_for_end();
      return response;
    }
    EXPECT_TRUE(response.ParseFromString(*frame));
    EXPECT_EQ(response.sequence(), leg.sequence());
    return response;
  }

  // The rows that come back.
  static std::vector<float> said_to(FrameClient* client, const v1::ForwardRequest& leg) {
    const v1::ForwardResponse response = answer_to(client, leg);
    EXPECT_EQ(response.status().code(), 0) << response.status().message();
    std::vector<float> said(response.said().data().size() / sizeof(float));
    std::memcpy(said.data(), response.said().data().data(), said.size() * sizeof(float));
    return said;
  }

  void expect_good_answer(FrameClient* client) {
    EXPECT_EQ(said_to(client, good_leg()), said_) << "a good leg after a bad one";
  }

  // One stream, which goes on.
  struct Case {
    const char* what;
    std::function<void(v1::ForwardRequest*)> spoil;
    Code code;
    const char* word;
  };
  void expect_refused(const std::vector<Case>& cases) {
    FrameClient client = open();
    for (const Case& c : cases) {
      v1::ForwardRequest leg = good_leg();
      c.spoil(&leg);
      const v1::ForwardResponse response = answer_to(&client, leg);
      EXPECT_EQ(response.status().code(), static_cast<int>(c.code))
          << c.what << ": " << response.status().message();
      EXPECT_THAT(response.status().message(), HasSubstr(c.word)) << c.what;
      EXPECT_FALSE(response.has_said()) << c.what;
      expect_good_answer(&client);
    }
  }

  // A stream that ends so; the next one serves.
  void expect_end(const std::string& frame, Code code, const char* word) {
    FrameClient client = open();
    expect_good_answer(&client);
    client.write(frame);
    const absl::Status end = client.wait_for_end();
    EXPECT_EQ(end.code(), code) << end;
    EXPECT_THAT(std::string(end.message()), HasSubstr(word));
    FrameClient next = open();
    expect_good_answer(&next);
  }

  std::vector<float> said_;
};

TEST_F(BadLegsTest, WrongRowsAreRefused) {
  const auto rows = [](v1::ForwardRequest* leg) { return leg->mutable_hidden(); };
  expect_refused({
      {"no rows", [](auto* leg) { leg->clear_hidden(); }, Code::kInvalidArgument, "without rows"},
      {"no dtype", [&](auto* leg) { rows(leg)->set_dtype(v1::DTYPE_UNSPECIFIED); },
       Code::kInvalidArgument, "type 0"},
      {"unknown dtype", [&](auto* leg) { rows(leg)->set_dtype(static_cast<v1::DType>(77)); },
       Code::kInvalidArgument, "type 77"},
      {"unknown reply type", [](auto* leg) { leg->set_reply_type(static_cast<v1::DType>(78)); },
       Code::kInvalidArgument, "type 78"},
      {"a reply in fp8", [](auto* leg) { leg->set_reply_type(v1::DTYPE_F8E4M3); },
       Code::kInvalidArgument, "rows back as fp8; f32 and bf16 come back"},
      {"another dtype's length", [&](auto* leg) { rows(leg)->set_dtype(v1::DTYPE_BF16); },
       Code::kInvalidArgument, "of bf16 in"},
      {"a byte too few", [&](auto* leg) { rows(leg)->mutable_data()->pop_back(); },
       Code::kInvalidArgument, "bytes"},
      {"a byte too many", [&](auto* leg) { rows(leg)->mutable_data()->push_back('x'); },
       Code::kInvalidArgument, "bytes"},
      {"no bytes", [&](auto* leg) { rows(leg)->clear_data(); }, Code::kInvalidArgument, "bytes"},
      {"a shape that overflows",
       [&](auto* leg) {
         rows(leg)->set_num_rows(INT32_MAX);
         rows(leg)->set_num_cols(INT32_MAX);
       },
       Code::kInvalidArgument, "2147483647 rows of 2147483647 columns"},
      {"a shape that overflows to nothing",
       [&](auto* leg) {
         rows(leg)->set_num_rows(1 << 30);
         rows(leg)->set_num_cols(1 << 30);
         rows(leg)->clear_data();
       },
       Code::kInvalidArgument, "columns"},
      {"rows below zero", [&](auto* leg) { rows(leg)->set_num_rows(-1); }, Code::kInvalidArgument,
       "-1 rows"},
      {"columns below zero", [&](auto* leg) { rows(leg)->set_num_cols(-kNumCols); },
       Code::kInvalidArgument, "-72 columns"},
      {"no columns", [&](auto* leg) { rows(leg)->set_num_cols(0); }, Code::kInvalidArgument,
       "0 columns"},
      {"half as wide, twice as many",
       [&](auto* leg) {
         set_rows(leg, 6);
         rows(leg)->set_num_cols(kNumCols / 2);
         rows(leg)->mutable_data()->resize(size_t{6} * kNumCols / 2 * sizeof(float));
       },
       Code::kInvalidArgument, "36 columns, the model has 72"},
      {"a leg of nothing", [](auto* leg) { set_rows(leg, 0); }, Code::kInvalidArgument, ""},
  });
}

TEST_F(BadLegsTest, WrongPicksAreRefused) {
  expect_refused({
      {"does not start at 0", [](auto* leg) { leg->set_pick_begin(0, 1); }, Code::kInvalidArgument,
       "pick_begin"},
      {"does not end at N", [](auto* leg) { leg->set_pick_begin(3, 5); }, Code::kInvalidArgument,
       "pick_begin"},
      {"ends above N", [](auto* leg) { leg->set_pick_begin(3, INT32_MAX); }, Code::kInvalidArgument,
       "pick_begin"},
      {"goes back", [](auto* leg) { leg->set_pick_begin(1, 5); }, Code::kInvalidArgument,
       "does not ascend"},
      {"below zero", [](auto* leg) { leg->set_pick_begin(1, INT32_MIN); }, Code::kInvalidArgument,
       "does not ascend"},
      {"above N within", [](auto* leg) { leg->set_pick_begin(2, INT32_MAX); },
       Code::kInvalidArgument, "does not ascend"},
      {"a row without picks", [](auto* leg) { leg->set_pick_begin(1, 0); }, Code::kInvalidArgument,
       "does not ascend"},
      {"too few entries", [](auto* leg) { leg->mutable_pick_begin()->RemoveLast(); },
       Code::kInvalidArgument, "3 entries of pick_begin for 3 rows"},
      {"no entries", [](auto* leg) { leg->clear_pick_begin(); }, Code::kInvalidArgument,
       "0 entries"},
      {"no picks", [](auto* leg) { leg->clear_pick_expert(); }, Code::kInvalidArgument,
       "pick_begin"},
      {"unknown expert", [](auto* leg) { leg->set_pick_expert(1, 24); }, Code::kInvalidArgument,
       "expert 24 of 24"},
      {"expert below zero", [](auto* leg) { leg->set_pick_expert(0, -1); }, Code::kInvalidArgument,
       "expert -1"},
      {"the highest expert", [](auto* leg) { leg->set_pick_expert(1, INT32_MAX); },
       Code::kInvalidArgument, "expert 2147483647"},
      {"the other server's expert", [](auto* leg) { leg->set_pick_expert(1, 23); }, Code::kNotFound,
       "expert 23 of layer 1 is not held here"},
      {"an expert twice", [](auto* leg) { leg->set_pick_expert(1, 1); }, Code::kInvalidArgument,
       "do not ascend at expert 1"},
      {"descending experts", [](auto* leg) { leg->set_pick_expert(0, 6); }, Code::kInvalidArgument,
       "do not ascend at expert 5"},
      {"too many picks", [](auto* leg) { set_rows(leg, 513); }, Code::kResourceExhausted,
       "1026 picks, the limit is 1024"},
  });
}

TEST_F(BadLegsTest, WrongLayersAreRefused) {
  std::vector<Case> cases;
  for (const int32_t layer : {-1, 0, 3, INT32_MAX, INT32_MIN}) {  // layer 0 is dense
    cases.push_back({"layer", [layer](auto* leg) { leg->set_layer_idx(layer); },
                     Code::kInvalidArgument, "has no routed experts"});
  }
  expect_refused(cases);
}

TEST_F(BadLegsTest, ARowThatIsNotFiniteHarmsNoOther) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    v1::ForwardRequest leg = good_leg();
    std::memcpy(leg.mutable_hidden()->mutable_data()->data(), &bad, sizeof(bad));
    FrameClient client = open();
    const std::vector<float> said = said_to(&client, leg);
    ASSERT_EQ(said.size(), said_.size());
    const auto first_row = said.begin() + 2 * kNumCols;  // two picks
    EXPECT_FALSE(std::all_of(said.begin(), first_row, [](float x) { return std::isfinite(x); }));
    EXPECT_TRUE(std::equal(first_row, said.end(), said_.begin() + 2 * kNumCols));
    expect_good_answer(&client);
  }
}

TEST_F(BadLegsTest, FramesThatCannotBeReadEndTheirStream) {
  const std::string leg = good_leg().SerializeAsString();
  const std::string checked = with_checksum(leg);
  expect_end(with_flipped_bit(checked, 8 * checked.size() - 1), Code::kDataLoss, "checksum");
  expect_end(with_flipped_bit(checked, 8 * 2), Code::kDataLoss, "checksum");
  expect_end(checked.substr(0, checked.size() / 2), Code::kDataLoss, "checksum");
  expect_end(checked.substr(0, 3), Code::kInvalidArgument, "checksum");
  expect_end(leg.substr(0, leg.size() / 2), Code::kInvalidArgument, "a frame that is no");
  expect_end(leg + leg, Code::kInvalidArgument, "twice");
  expect_end(std::string(1000, '\xff'), Code::kInvalidArgument, "a frame");
  expect_end("\x7f", Code::kInvalidArgument, "a frame");
  std::mt19937 rng(3);
  for (int i = 0; i < 20; ++i) {
    const std::vector<std::byte> noise = random_bytes(1 + rng() % 300, &rng);
    FrameClient client = open();
    client.write(std::string(reinterpret_cast<const char*>(noise.data()), noise.size()));
    const auto answer = client.read();  // by chance it may be a message
    v1::ForwardResponse response;
    if (answer && response.ParseFromString(*answer)) {
      EXPECT_NE(response.status().code(), 0);
    }
  }
  FrameClient next = open();
  expect_good_answer(&next);
}

TEST_F(BadLegsTest, TheEmptyMessageIsALegOfNothing) {
  FrameClient client = open();
  const v1::ForwardResponse response = answer_to(&client, {});
  EXPECT_EQ(response.status().code(), static_cast<int>(Code::kInvalidArgument));
  expect_good_answer(&client);
}

TEST_F(BadLegsTest, AFrameOverTheLimitEndsItsStream) {
  expect_end(std::string((64 << 20) + 1, '\0'), Code::kResourceExhausted, "larger than max");
  // The largest that is taken, as rows of a field that nobody knows.
  v1::ForwardRequest leg = good_leg();
  leg.mutable_hidden()->mutable_data()->resize((64 << 20) - 4096);
  FrameClient client = open();
  EXPECT_EQ(answer_to(&client, leg).status().code(), static_cast<int>(Code::kInvalidArgument));
  expect_good_answer(&client);
}

// Nothing is owed to a client that goes: neither its answers nor their order.
TEST_F(BadLegsTest, AClientThatVanishesInTheMiddleHarmsNoOther) {
  FrameClient steady = open();
  for (int i = 0; i < 20; ++i) {
    FrameClient fleeting = open();
    for (int k = 0; k < 10; ++k) fleeting.write(good_leg().SerializeAsString());
    if (i % 2 == 0) fleeting.read();
  }
  expect_good_answer(&steady);
}

}  // namespace
}  // namespace conclave
