// What a walk in halves must keep:
//   - the legs of one half are away while the other computes: the order of begin, attention and
//     finish is the one that attention/layer_walk.h writes down;
//   - ids and logprobs are those of whole steps, wherever the cut falls in a prompt;
//   - faults name the step's tokens, and a half that fails leaves no legs of the other behind;
//   - auto halves steps whose waiting it saves time to hide, and no others.
// More of the bits is in tests/services/determinism_test.cc.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "tests/attention/tiny_engine.h"
#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

using testing::ElementsAreArray;
using Events = std::vector<std::string>;

// The first layer is dense.
constexpr int32_t kFirstMoeLayer = 1;

Listener run_alone(TinyEngine* engine, std::vector<int32_t> prompt, int32_t max_tokens) {
  Listener listener;
  Request request = greedy_request(1, std::move(prompt), max_tokens, &listener);
  request.sampling.num_logprobs = 3;
  EXPECT_TRUE((*engine)->submit(std::move(request)).ok());
  engine->run_to_end();
  return listener;
}

Events events_of(Overlap overlap, int32_t num_rows) {
  TinyEngine engine({.overlap = overlap});
  Events events;
  engine.when([&](const WalkEvent& event) {
    events.push_back(absl::StrFormat("%s %d: %d", event.what, event.layer_idx, event.num_rows));
  });
  run_alone(&engine, some_ids(num_rows, 3), 1);
  return events;
}

TEST(LayerWalkTest, AWholeStepWaitsForItsLegs) {
  const int32_t num_layers = TinyEngine({}).config().num_layers;
  ASSERT_GE(num_layers, kFirstMoeLayer + 2);
  Events expected = {"attend 0: 9"};
  for (int32_t layer = kFirstMoeLayer; layer < num_layers; ++layer) {
    for (const char* const what : {"attend", "begin", "finish"}) {
      expected.push_back(absl::StrFormat("%s %d: 9", what, layer));
    }
  }
  EXPECT_THAT(events_of(Overlap::kOff, 9), ElementsAreArray(expected));
}

TEST(LayerWalkTest, AHalfComputesWhileTheOthersLegsAreAway) {
  const int32_t num_layers = TinyEngine({}).config().num_layers;
  Events expected = {"attend 0: 9"};
  for (int32_t layer = kFirstMoeLayer; layer < num_layers; ++layer) {
    for (const int32_t rows : {5, 4}) {
      if (layer > kFirstMoeLayer) {
        expected.push_back(absl::StrFormat("finish %d: %d", layer - 1, rows));
      }
      expected.push_back(absl::StrFormat("attend %d: %d", layer, rows));
      expected.push_back(absl::StrFormat("begin %d: %d", layer, rows));
    }
  }
  for (const int32_t rows : {5, 4}) {
    expected.push_back(absl::StrFormat("finish %d: %d", num_layers - 1, rows));
  }
  EXPECT_THAT(events_of(Overlap::kOn, 9), ElementsAreArray(expected));
}

TEST(LayerWalkTest, WhereTheCutFallsChangesNoBits) {
  for (int32_t length = 1; length <= 40; ++length) {
    TinyEngine whole({.prefill_chunk = 17, .overlap = Overlap::kOff});
    TinyEngine halves({.prefill_chunk = 17, .overlap = Overlap::kOn});
    const Listener expected = run_alone(&whole, some_ids(length, 5), 3);
    const Listener said = run_alone(&halves, some_ids(length, 5), 3);
    EXPECT_EQ(said.ids, expected.ids) << length;
    ASSERT_EQ(said.logprobs.size(), expected.logprobs.size());
    for (size_t i = 0; i < said.logprobs.size(); ++i) {
      EXPECT_EQ(said.logprobs[i].chosen.logprob, expected.logprobs[i].chosen.logprob) << length;
    }
    EXPECT_EQ(halves->walk().counters().num_halved_steps > 0, length > 1);
    EXPECT_EQ(whole->walk().counters().num_halved_steps, 0);
  }
}

// Three prompts of four ids: the cut is inside the second. Its last row, the second of B, is wrong.
TEST(LayerWalkTest, AFaultOfTheSecondHalfNamesItsToken) {
  TinyEngine engine({.overlap = Overlap::kOn});
  engine.moe().fault_of = [&](int32_t layer_idx) -> std::optional<RowFault> {
    if (layer_idx != kFirstMoeLayer || engine.moe().num_finished != 2) return std::nullopt;
    return RowFault{1, absl::InternalError("the eighth row")};
  };
  Listener listeners[3];
  for (uint64_t i = 0; i < 3; ++i) {
    const Request request =
        greedy_request(i, some_ids(4, static_cast<uint32_t>(i)), 2, &listeners[i]);
    ASSERT_TRUE(engine->submit(request).ok());
  }
  engine.run_to_end();
  EXPECT_EQ(listeners[1].finish->status, absl::InternalError("the eighth row"));
  for (const int i : {0, 2}) {
    EXPECT_EQ(listeners[i].ids, greedy_ids(some_ids(4, static_cast<uint32_t>(i)), 2));
  }
}

// Whichever half it is that cannot begin or finish, and in whichever layer.
TEST(LayerWalkTest, AHalfThatFailsLeavesNoLegsOfTheOther) {
  for (const char* const what : {"begin", "finish"}) {
    for (int32_t nth = 1; nth <= 4; ++nth) {
      TinyEngine engine({.overlap = Overlap::kOn});
      int32_t num_away = 0;
      int32_t count = 0;
      engine.when([&](const WalkEvent& event) {
        num_away += event.what == std::string("begin") ? 1 : 0;
        num_away -= event.what == std::string("finish") ? 1 : 0;
        if (event.what != what || ++count != nth) return;
        (what == std::string("begin") ? engine.moe().begin_status : engine.moe().finish_status) =
            absl::UnavailableError("the gateway is lost");
        num_away -= what == std::string("begin") ? 1 : 0;
      });
      Listener listener;
      ASSERT_TRUE(engine->submit(greedy_request(1, some_ids(9, 4), 2, &listener)).ok());
      ASSERT_TRUE(engine->step());
      EXPECT_EQ(num_away, 0) << what << " " << nth;
      EXPECT_EQ(engine->num_stalled(), 1);

      engine.moe().begin_status = engine.moe().finish_status = absl::OkStatus();
      engine.when({});
      engine->retry_stalled();
      engine.run_to_end();
      EXPECT_EQ(listener.ids, greedy_ids(some_ids(9, 4), 2));
    }
  }
}

// --- auto, with time in hand

// A millisecond a row and a fixed price for each reading of a layer's weights; legs take `legs`
// from begin() to the end of finish().
class TimedWalk {
 public:
  TimedWalk(absl::Duration legs, absl::Duration reading)
      : engine_({.overlap = Overlap::kAuto, .clock = &clock_}) {
    engine_.when([this, legs, reading](const WalkEvent& event) {
      if (event.what == std::string("attend")) {
        clock_.advance(reading + event.num_rows * absl::Milliseconds(1));
      } else if (event.what == std::string("begin")) {
        back_at_.push_back(clock_.now() + legs);
      } else {
        clock_.advance(std::max(absl::ZeroDuration(), back_at_.front() - clock_.now()));
        back_at_.pop_front();
      }
    });
  }

  // Of `count` steps that decode eight sequences, how many were halved.
  int64_t num_halved_of(int32_t count) {
    Listener listeners[8];
    for (uint64_t i = 0; i < 8; ++i) {
      const auto seed = static_cast<uint32_t>(i);
      const Request request = greedy_request(i, some_ids(1, seed), count + 1, &listeners[i]);
      CHECK(engine_->submit(request).ok());
    }
    CHECK(engine_->step());
    const int64_t before = engine_->walk().counters().num_halved_steps;
    for (int32_t i = 0; i < count; ++i) CHECK(engine_->step());
    engine_.run_to_end();
    return engine_->walk().counters().num_halved_steps - before;
  }

 private:
  ManualClock clock_;
  std::deque<absl::Time> back_at_;
  TinyEngine engine_;
};

TEST(LayerWalkTest, AutoHalvesStepsThatWaitForSlowLegs) {
  EXPECT_GE(TimedWalk(absl::Milliseconds(4), absl::Microseconds(500)).num_halved_of(50), 44);
}

TEST(LayerWalkTest, AutoLeavesStepsWholeWhereReadingCostsMore) {
  EXPECT_LE(TimedWalk(absl::Milliseconds(4), absl::Milliseconds(6)).num_halved_of(50), 5);
}

TEST(LayerWalkTest, AutoLeavesStepsWholeWhereNothingIsAway) {
  EXPECT_EQ(TimedWalk(absl::ZeroDuration(), absl::Microseconds(500)).num_halved_of(50), 0);
}

}  // namespace
}  // namespace conclave
