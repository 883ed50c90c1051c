// Contract C1, with the default types: the ids and logprobs of 32 mixed requests, greedy and
// seeded, are the same bits whatever the company (alone or together), the number of expert shards,
// the prefill chunk, the number of threads, whether steps go in halves, and with preemption forced
// by a cache that holds only a few of them.
//
// By default a set of combinations runs in which every pair of settings occurs; CONCLAVE_FULL=1
// runs all of them.

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <set>
#include <tuple>

#include "services/local/local_model.h"
#include "tests/support/golden.h"
#include "tests/support/mixed_requests.h"
#include "tests/support/run_requests.h"

namespace conclave {
namespace {

constexpr int kNumRequests = kNumMixedRequests;
constexpr int32_t kAmpleTokens = 32 * 256;
constexpr int32_t kTinyTokens = 5 * 64;  // the longest request and little more

struct Setting {
  Company company = Company::kAlone;
  int32_t shards = 1;
  int32_t chunk = 512;
  int32_t threads = 1;
  bool tiny_cache = false;
  Overlap overlap = Overlap::kOff;
  bool int8 = false;

  std::string name() const {
    return std::string(company == Company::kAlone ? "Alone" : "Together") + "_shards" +
           std::to_string(shards) + "_chunk" + std::to_string(chunk) + "_threads" +
           std::to_string(threads) + (tiny_cache ? "_tiny" : "_ample") +
           (overlap == Overlap::kOff  ? ""
            : overlap == Overlap::kOn ? "_halves"
                                      : "_auto") +
           (int8 ? "_int8" : "");
  }
};

const std::vector<int32_t> kShards = {1, 2, 3, 5};
const std::vector<int32_t> kChunks = {1, 7, 64, 512};

std::vector<Setting> all_settings() {
  std::vector<Setting> settings;
  for (const Company company : {Company::kAlone, Company::kTogether}) {
    for (const int32_t shards : kShards) {
      for (const int32_t chunk : kChunks) {
        for (const int32_t threads : {1, 2}) {
          for (const bool tiny : {false, true}) {
            for (const Overlap overlap : {Overlap::kOff, Overlap::kOn}) {
              settings.push_back({company, shards, chunk, threads, tiny, overlap});
            }
          }
        }
      }
    }
  }
  return settings;
}

// Every shard count with every chunk; the four two-valued settings follow four bits that are
// independent of each other and balanced in every row and column (PairwiseCoversEveryPair).
std::vector<Setting> pairwise_settings() {
  std::vector<Setting> settings;
  for (size_t i = 0; i < kShards.size(); ++i) {
    for (size_t j = 0; j < kChunks.size(); ++j) {
      const size_t mixed = i ^ j;
      settings.push_back({(mixed & 1) != 0 ? Company::kTogether : Company::kAlone, kShards[i],
                          kChunks[j], (mixed & 2) != 0 ? 2 : 1, ((i + (j >> 1) + (j & 1)) & 1) == 0,
                          (((i >> 1) ^ j) & 1) != 0 ? Overlap::kOn : Overlap::kOff});
    }
  }
  return settings;
}

bool is_full() {
  const char* const full = std::getenv("CONCLAVE_FULL");
  return full != nullptr && std::string(full) == "1";
}

// Weights of int8 are other kernels in the same engine: enough that each other setting occurs.
std::vector<Setting> int8_settings() {
  std::vector<Setting> settings = {{Company::kTogether, 1, 512, 2, false},
                                   {Company::kTogether, 3, 7, 1, true, Overlap::kOn},
                                   {Company::kAlone, 2, 64, 2, true},
                                   {Company::kAlone, 5, 1, 1, false}};
  for (Setting& setting : settings) setting.int8 = true;
  return settings;
}

// Steps of which some go in halves and some do not, as the times of this machine will have it.
std::vector<Setting> auto_settings() {
  return {{Company::kTogether, 3, 7, 2, true, Overlap::kAuto},
          {Company::kAlone, 2, 64, 1, false, Overlap::kAuto}};
}

std::vector<Setting> tested_settings() {
  std::vector<Setting> settings = is_full() ? all_settings() : pairwise_settings();
  const std::vector<Setting> int8 = int8_settings();
  settings.insert(settings.end(), int8.begin(), int8.end());
  const std::vector<Setting> measured = auto_settings();
  settings.insert(settings.end(), measured.begin(), measured.end());
  return settings;
}

// Of two rows at least, which halves can be cut from.
bool has_large_steps(const Setting& setting) {
  return setting.company == Company::kTogether || setting.chunk > 1;
}

class DeterminismTest : public testing::TestWithParam<Setting> {
 protected:
  static void SetUpTestSuite() {
    for (const bool int8 : {false, true}) {
      auto folder = read_model_folder(golden_dir("bard"), *parse_weight_types(kWeights[int8]));
      ASSERT_TRUE(folder.ok()) << folder.status();
      folders_[int8] = new ModelFolder(*std::move(folder));
      expected_[int8] = new std::vector<Answer>(run({.int8 = int8}).answers);
    }
  }
  static void TearDownTestSuite() {
    for (const bool int8 : {false, true}) {
      delete expected_[int8];
      delete folders_[int8];
    }
  }

  struct Run {
    std::vector<Answer> answers;
    int64_t num_preemptions = 0;
    int64_t num_steps = 0;
    int64_t num_halved_steps = 0;
  };

  static Run run(const Setting& setting) {
    const LocalModel::Options options{
        .expert_shards = setting.shards,
        .prefill_chunk = setting.chunk,
        .threads = setting.threads,
        .max_running = kNumRequests,
        .cache_tokens = setting.tiny_cache ? kTinyTokens : kAmpleTokens,
        .overlap = setting.overlap};
    auto model = LocalModel::load(*folders_[setting.int8], options, {});
    CHECK(model.ok());
    Engine& engine = (*model)->engine();
    std::vector<Answer> answers =
        run_requests(&engine, mixed_requests(folders_[0]->config.vocab_size), setting.company);
    return {std::move(answers), engine.num_preemptions(), engine.num_steps(),
            engine.walk().counters().num_halved_steps};
  }

  static constexpr const char* kWeights[] = {"stored", "int8"};
  static ModelFolder* folders_[2];  // by Setting::int8
  static std::vector<Answer>* expected_[2];
};

ModelFolder* DeterminismTest::folders_[2] = {};
std::vector<Answer>* DeterminismTest::expected_[2] = {};

TEST_P(DeterminismTest, SameBits) {
  const Run run = DeterminismTest::run(GetParam());
  const std::vector<Answer>& expected = *expected_[GetParam().int8];
  ASSERT_EQ(run.answers.size(), expected.size());
  for (size_t i = 0; i < run.answers.size(); ++i) {
    const auto difference = first_difference(run.answers[i], expected[i]);
    EXPECT_FALSE(difference.has_value()) << "request " << i << ": " << *difference;
  }
  if (GetParam().tiny_cache && GetParam().company == Company::kTogether) {
    EXPECT_GT(run.num_preemptions, 0) << "the tiny cache was meant to force preemption";
  }
  const Overlap overlap = GetParam().overlap;
  EXPECT_EQ(run.num_halved_steps > 0, overlap != Overlap::kOff && has_large_steps(GetParam()));
  if (overlap == Overlap::kAuto) {
    EXPECT_LT(run.num_halved_steps, run.num_steps);
  }
}

INSTANTIATE_TEST_SUITE_P(Settings, DeterminismTest, testing::ValuesIn(tested_settings()),
                         [](const testing::TestParamInfo<Setting>& info) {
                           return info.param.name();
                         });

// What stands between the pairwise subset and wishful thinking.
TEST(DeterminismSettings, PairwiseCoversEveryPair) {
  const auto pairs_of = [](const std::vector<Setting>& settings) {
    std::set<std::tuple<int, int32_t, int, int32_t>> pairs;
    for (const Setting& s : settings) {
      const int32_t values[] = {
          s.company == Company::kAlone ? 0 : 1, s.shards, s.chunk, s.threads, s.tiny_cache ? 1 : 0,
          s.overlap == Overlap::kOn ? 1 : 0};
      for (int a = 0; a < 6; ++a) {
        for (int b = a + 1; b < 6; ++b) pairs.insert({a, values[a], b, values[b]});
      }
    }
    return pairs;
  };
  EXPECT_EQ(pairs_of(pairwise_settings()), pairs_of(all_settings()));
}

// Requests differ, or the test above would compare 32 times the same.
TEST_F(DeterminismTest, RequestsAreMixed) {
  std::set<std::vector<int32_t>> answers;
  for (const Answer& answer : *expected_[0]) answers.insert(answer.ids);
  EXPECT_GT(answers.size(), static_cast<size_t>(kNumRequests) * 3 / 4);
}

// Nor would int8 be tested if its answers were those of the stored weights.
TEST_F(DeterminismTest, Int8IsAnotherProfile) {
  size_t num_different = 0;
  for (size_t i = 0; i < expected_[0]->size(); ++i) {
    num_different += first_difference((*expected_[0])[i], (*expected_[1])[i]).has_value() ? 1 : 0;
  }
  EXPECT_GT(num_different, static_cast<size_t>(kNumRequests) / 4);
}

}  // namespace
}  // namespace conclave
