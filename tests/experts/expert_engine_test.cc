// What the expert engine must keep:
//   - each pick is answered with the SwiGLU of its row and its expert, in the order of the job's
//   picks;
//   - the bits of an answer depend on the row, the expert and the types alone: not on the jobs it
//   is
//     merged with, on how a job is cut, on the size of the engine's groups or on its threads.

#include "experts/expert_engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/thread_pool.h"
#include "tests/experts/random_experts.h"

namespace conclave {
namespace {

using Answers = std::vector<SharedBytes>;

std::vector<ExpertJob> jobs_of(const std::vector<JobMemory>& memories) {
  std::vector<ExpertJob> jobs;
  for (const JobMemory& memory : memories) jobs.push_back(memory.job());
  return jobs;
}

class ExpertEngineTest : public testing::Test {
 protected:
  Answers run(const std::vector<JobMemory>& memories, int32_t max_group_rows = 256) {
    ExpertEngine engine(experts_.config, &experts_.weights, inline_executor(), max_group_rows);
    return engine.run(memories.front().layer_idx, jobs_of(memories));
  }

  // The formula, in double: down(silu(gate(x)) * up(x)).
  std::vector<double> naive_swiglu(int32_t layer_idx, int32_t expert, const float* x) const {
    const FfnWeights& w = *experts_.weights.find(layer_idx, expert);
    const auto product = [](const Weight& weight, const auto* v) {
      std::vector<double> out(static_cast<size_t>(weight.num_rows), 0.0);
      for (int32_t n = 0; n < weight.num_rows; ++n) {
        const auto* const row = static_cast<const float*>(weight.row(n));
        for (int32_t k = 0; k < weight.num_cols; ++k) out[n] += double{row[k]} * double{v[k]};
      }
      return out;
    };
    std::vector<double> hidden = product(w.gate, x);
    const std::vector<double> up = product(w.up, x);
    for (size_t f = 0; f < hidden.size(); ++f) {
      hidden[f] = hidden[f] / (1.0 + std::exp(-hidden[f])) * up[f];
    }
    return product(w.down, hidden.data());
  }

  void expect_formula(const JobMemory& memory, const SharedBytes& said) const {
    const int32_t num_rows = static_cast<int32_t>(memory.pick_begin.size()) - 1;
    const int32_t num_picks = static_cast<int32_t>(memory.pick_expert.size());
    Matrix<float> x(num_rows, kHiddenDim);
    Matrix<float> y(num_picks, kHiddenDim);
    ASSERT_EQ(said.size(), static_cast<size_t>(num_picks) * memory.reply_row_bytes());
    unpack_rows(memory.rows.data(), memory.row_type, x.view());
    unpack_rows(said.data(), memory.reply_type, y.view());
    const double tolerance = memory.reply_type == DType::kF32 ? 2e-6 : 1.0 / 256;
    for (int32_t m = 0; m < num_rows; ++m) {
      for (int32_t p = memory.pick_begin[m]; p < memory.pick_begin[m + 1]; ++p) {
        const auto expected = naive_swiglu(memory.layer_idx, memory.pick_expert[p], x.row(m));
        for (int32_t c = 0; c < kHiddenDim; ++c) {
          ASSERT_NEAR(y.row(p)[c], expected[c], tolerance * (1.0 + std::fabs(expected[c])))
              << "pick " << p << " column " << c;
        }
      }
    }
  }

  const RandomExperts experts_;
};

TEST_F(ExpertEngineTest, EveryPickIsTheSwigluOfItsRow) {
  for (const DType row_type : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
    for (const DType reply_type : {DType::kF32, DType::kBF16}) {
      for (const int32_t layer : {1, 2}) {
        for (const int32_t num_rows : {1, 2, 33, 256}) {
          const JobMemory memory = random_job({.num_rows = num_rows,
                                               .seed = 5,
                                               .layer_idx = layer,
                                               .row_type = row_type,
                                               .reply_type = reply_type});
          expect_formula(memory, run({memory}).front());
        }
      }
    }
  }
}

// Jobs of every row type and every reply type, large and small.
std::vector<JobMemory> mixed_jobs() {
  constexpr DType kRowTypes[] = {DType::kF32, DType::kBF16, DType::kF8E4M3};
  std::vector<JobMemory> memories;
  for (uint32_t i = 0; i < 8; ++i) {
    memories.push_back(random_job({.num_rows = i == 0 ? 120 : 1 + static_cast<int32_t>(i * i % 13),
                                   .seed = i,
                                   .row_type = kRowTypes[i % 3],
                                   .reply_type = i % 2 == 0 ? DType::kF32 : DType::kBF16}));
  }
  return memories;
}

TEST_F(ExpertEngineTest, MergingJobsChangesNoBit) {
  const std::vector<JobMemory> memories = mixed_jobs();
  const Answers together = run(memories);
  ASSERT_EQ(together.size(), memories.size());
  for (size_t j = 0; j < memories.size(); ++j) {
    expect_formula(memories[j], together[j]);
    EXPECT_EQ(together[j], run({memories[j]}).front()) << "job " << j;
  }
}

TEST_F(ExpertEngineTest, TheOrderOfJobsChangesNoBit) {
  std::vector<JobMemory> memories = mixed_jobs();
  Answers expected = run(memories);
  std::reverse(memories.begin(), memories.end());
  std::reverse(expected.begin(), expected.end());
  EXPECT_EQ(run(memories), expected);
}

TEST_F(ExpertEngineTest, TheSizeOfGroupsChangesNoBit) {
  const std::vector<JobMemory> memories = mixed_jobs();
  const Answers expected = run(memories, 256);
  for (const int32_t max_group_rows : {1, 2, 3, 7, 64, 1000}) {
    EXPECT_EQ(run(memories, max_group_rows), expected) << max_group_rows << " rows";
  }
}

TEST_F(ExpertEngineTest, CuttingAJobIntoRowsChangesNoBit) {
  for (const JobMemory& memory : mixed_jobs()) {
    const SharedBytes whole = run({memory}).front();
    std::vector<std::byte> pieces;
    for (size_t m = 0; m + 1 < memory.pick_begin.size(); ++m) {
      const auto piece = run({memory.only_row(static_cast<int32_t>(m))}).front();
      pieces.insert(pieces.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(whole, SharedBytes(pieces));
  }
}

TEST_F(ExpertEngineTest, ThreadsAndUseBeforeChangeNoBit) {
  const std::vector<JobMemory> memories = mixed_jobs();
  const Answers expected = run(memories);
  ThreadPool threads(3);
  ExpertEngine engine(experts_.config, &experts_.weights, &threads);
  for (int repeat = 0; repeat < 3; ++repeat) {
    EXPECT_EQ(engine.run(1, jobs_of(memories)), expected);
    engine.run(2, std::vector<ExpertJob>{random_job({.num_rows = 9, .layer_idx = 2}).job()});
  }
}

// A wider answer rounded by hand is the narrower one.
TEST_F(ExpertEngineTest, RepliesDifferByTheirRoundingAlone) {
  JobMemory memory = random_job({.num_rows = 33, .seed = 3, .reply_type = DType::kF32});
  const SharedBytes wide = run({memory}).front();
  Matrix<float> rows(static_cast<int32_t>(memory.pick_expert.size()), kHiddenDim);
  unpack_rows(wide.data(), DType::kF32, rows.view());
  std::vector<std::byte> rounded(wide.size() / 2);
  pack_rows(rows.view(), DType::kBF16, rounded.data());
  memory.reply_type = DType::kBF16;
  EXPECT_EQ(run({memory}).front(), SharedBytes(rounded));
}

TEST_F(ExpertEngineTest, NoJobsAreNoAnswers) {
  ExpertEngine engine(experts_.config, &experts_.weights, inline_executor());
  EXPECT_TRUE(engine.run(1, {}).empty());
}

TEST_F(ExpertEngineTest, ARowThatIsNotFiniteSpoilsNoOther) {
  JobMemory memory = random_job({.num_rows = 20, .seed = 6, .row_type = DType::kF32});
  const SharedBytes healthy = run({memory}).front();
  const float bad = std::nanf("");
  std::memcpy(memory.rows.data() + 7 * memory.row_bytes(), &bad, sizeof bad);
  const SharedBytes said = run({memory}).front();
  for (size_t p = 0; p < memory.pick_expert.size(); ++p) {
    const bool is_bad = static_cast<int32_t>(p) >= memory.pick_begin[7] &&
                        static_cast<int32_t>(p) < memory.pick_begin[8];
    const size_t bytes = memory.reply_row_bytes();
    EXPECT_EQ(std::memcmp(said.data() + p * bytes, healthy.data() + p * bytes, bytes) != 0, is_bad)
        << "pick " << p;
  }
}

TEST_F(ExpertEngineTest, JobsOfAnotherLayerAreOurMistake) {
  ExpertEngine engine(experts_.config, &experts_.weights, inline_executor());
  const JobMemory memory = random_job({.layer_idx = 2});
  EXPECT_DEATH(engine.run(1, jobs_of({memory})), "layer_idx");
}

}  // namespace
}  // namespace conclave
