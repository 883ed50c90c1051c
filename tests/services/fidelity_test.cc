// Contract C2: with f32 wire and cache,
//   - logits are within 1e-4 of the row's largest absolute logit of what transformers computed, in
//     every way of running the same ids: one chunk, chunks of 7 and of 1, all but one as generated;
//   - every greedy id is the reference's;
// on every instruction class of this machine.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>

#include "kernels/instruction_class.h"
#include "services/local/local_model.h"
#include "tests/support/golden.h"
#include "tests/support/run_requests.h"

namespace conclave {
namespace {

constexpr double kTolerance = 1e-4;

struct Way {
  const char* name;
  int32_t prefill_chunk;
  bool all_generated;  // one id is the prompt, the others are forced, a step each
};

constexpr Way kWays[] = {
    {"OneChunk", 512, false},
    {"ChunksOf7", 7, false},
    {"ChunksOf1", 1, false},
    {"AllGenerated", 512, true},
};

using Case = std::tuple<const char*, Way, InstructionClass>;

class FidelityTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(set_instruction_class(std::get<2>(GetParam())).ok());
    auto folder = read_model_folder(golden_dir(std::get<0>(GetParam())));
    ASSERT_TRUE(folder.ok()) << folder.status();
    folder_ = std::make_unique<ModelFolder>(*std::move(folder));
    const LocalModel::Options options{.wire = DType::kF32,
                                      .cache = DType::kF32,
                                      .expert_shards = 2,
                                      .prefill_chunk = std::get<1>(GetParam()).prefill_chunk,
                                      .threads = 2,
                                      .cache_tokens = 512};
    auto model = LocalModel::load(*folder_, options, {});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }
  void TearDown() override {
    ASSERT_TRUE(set_instruction_class(supported_instruction_classes().front()).ok());
  }

  // Raw logits of all ids, run in the way of this case.
  std::vector<float> logits_of(std::vector<int32_t> ids) {
    Request request{.score_only = true, .wants_logits = true};
    const size_t num_prompt = std::get<1>(GetParam()).all_generated ? 1 : ids.size();
    request.forced.assign(ids.begin() + static_cast<std::ptrdiff_t>(num_prompt), ids.end());
    ids.resize(num_prompt);
    request.prompt = std::move(ids);
    return run_requests(&model_->engine(), {request}, Company::kTogether).front().logits;
  }

  std::unique_ptr<ModelFolder> folder_;
  std::unique_ptr<LocalModel> model_;
};

TEST_P(FidelityTest, LogitsAreTheReferences) {
  const int32_t vocab = folder_->config.vocab_size;
  for (const GoldenPrompt& golden : read_golden(folder_->dir)) {
    const std::vector<float> logits = logits_of(golden.scored_ids());
    ASSERT_EQ(logits.size(), golden.logits.size());
    double worst = 0;
    for (size_t row = 0; row < logits.size(); row += static_cast<size_t>(vocab)) {
      double largest = 0;
      double off = 0;
      for (size_t i = row; i < row + static_cast<size_t>(vocab); ++i) {
        largest = std::max<double>(largest, std::fabs(golden.logits[i]));
        ASSERT_TRUE(std::isfinite(logits[i]));
        off = std::max<double>(off, std::fabs(double{logits[i]} - golden.logits[i]));
      }
      worst = std::max(worst, off / largest);
    }
    EXPECT_LE(worst, kTolerance) << golden.prompt.size() << " prompt ids";
  }
}

TEST_P(FidelityTest, GreedyIdsAreTheReferences) {
  for (const GoldenPrompt& golden : read_golden(folder_->dir)) {
    Request request{.prompt = golden.prompt};
    request.sampling.temperature = 0;
    request.sampling.max_tokens = static_cast<int32_t>(golden.greedy.size());
    const Answer answer = run_requests(&model_->engine(), {request}, Company::kTogether).front();
    EXPECT_EQ(answer.ids, golden.greedy);
  }
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const char* golden :
       {"deepseek_v2_lite", "deepseek_v2", "deepseek_v3", "deepseek_v3_fp8", "moonlight", "bard"}) {
    for (const Way& way : kWays) {
      for (const InstructionClass isa : supported_instruction_classes()) {
        cases.emplace_back(golden, way, isa);
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Goldens, FidelityTest, testing::ValuesIn(all_cases()),
                         [](const testing::TestParamInfo<Case>& info) {
                           return std::string(std::get<0>(info.param)) +
                                  std::get<1>(info.param).name + "_" +
                                  std::string(instruction_class_name(std::get<2>(info.param)));
                         });

}  // namespace
}  // namespace conclave
