// What stands between the outside and a kernel: a job is run only if its layer, its picks, its
// types and its bytes agree with each other and with the model. Every way to be wrong is refused
// with words that say what was wrong; an expert of the model that is held elsewhere is NOT_FOUND
// and named.

#include "experts/expert_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/experts/random_experts.h"

namespace conclave {
namespace {

using testing::HasSubstr;

constexpr int32_t kNumHeld = 6;

// Two rows: the first asks experts 1 and 4, the second 0, 2 and 5.
JobMemory good_job() {
  JobMemory memory;
  const Matrix<float> row(1, kHiddenDim);
  memory.add_row({1, 4}, row.view());
  memory.add_row({0, 2, 5}, row.view());
  return memory;
}

absl::Status check(const ExpertJob& job) {
  static const RandomExperts* const experts = new RandomExperts(kNumHeld);
  return check_job(job, experts->config, experts->weights);
}

TEST(ExpertJob, GoodJobsPass) {
  JobMemory memory = good_job();
  for (const int32_t layer : {1, 2}) {
    memory.layer_idx = layer;
    EXPECT_TRUE(check(memory.job()).ok()) << check(memory.job());
  }
  for (const DType row_type : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
    for (const DType reply_type : {DType::kF32, DType::kBF16}) {
      for (const int32_t num_rows : {1, 2, 33, 256}) {
        JobMemory job{.row_type = row_type, .reply_type = reply_type};
        const Matrix<float> row(1, kHiddenDim);
        for (int32_t m = 0; m < num_rows; ++m) job.add_row({m % kNumHeld}, row.view());
        EXPECT_TRUE(check(job.job()).ok()) << check(job.job());
      }
    }
  }
}

// How a good job becomes a bad one, by what it names, and a word of the answer.
struct BadJob {
  const char* name;
  void (*spoil)(JobMemory* m);
  const char* word;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
constexpr int32_t kMin = std::numeric_limits<int32_t>::min();

// clang-format off
const BadJob kBadJobs[] = {
    {"DenseLayer", [](JobMemory* m) { m->layer_idx = 0; }, "layer 0"},
    {"LayerBelow", [](JobMemory* m) { m->layer_idx = -1; }, "layer -1"},
    {"LayerAbove", [](JobMemory* m) { m->layer_idx = 3; }, "layer 3"},
    {"LayerFarAbove", [](JobMemory* m) { m->layer_idx = kMax; }, "layer 2147483647"},
    {"LayerFarBelow", [](JobMemory* m) { m->layer_idx = kMin; }, "layer -2147483648"},

    {"NoPickBegin", [](JobMemory* m) { m->pick_begin.clear(); }, "pick_begin"},
    {"NoRows", [](JobMemory* m) { *m = JobMemory{}; }, "at least one row"},
    {"BeginsAtOne", [](JobMemory* m) { m->pick_begin[0] = 1; }, "pick_begin"},
    {"BeginsBelow", [](JobMemory* m) { m->pick_begin[0] = -1; }, "pick_begin"},
    {"EndsEarly", [](JobMemory* m) { m->pick_begin[2] = 4; }, "5 picks"},
    {"EndsLate", [](JobMemory* m) { m->pick_begin[2] = 6; }, "5 picks"},
    {"EndsFarOut", [](JobMemory* m) { m->pick_begin[2] = kMax; }, "5 picks"},
    {"RowWithoutPicks", [](JobMemory* m) { m->pick_begin[1] = 0; }, "row 0"},
    {"LastRowWithoutPicks", [](JobMemory* m) { m->pick_begin[1] = 5; }, "row 1"},
    {"Descends", [](JobMemory* m) { m->pick_begin = {0, 6, 5}; }, "row 1"},
    {"DescendsBelowZero", [](JobMemory* m) { m->pick_begin = {0, kMin, 5}; }, "row 0"},

    {"MoreRowsThanBytes", [](JobMemory* m) { m->pick_begin = {0, 1, 2, 5}; }, "3 rows"},
    {"FewerRowsThanBytes", [](JobMemory* m) { m->pick_begin = {0, 5}; }, "1 rows"},
    {"ByteShort", [](JobMemory* m) { m->rows.pop_back(); }, "107 bytes given"},
    {"ByteLong", [](JobMemory* m) { m->rows.emplace_back(); }, "109 bytes given"},
    {"NoBytes", [](JobMemory* m) { m->rows.clear(); }, "0 bytes given"},
    {"ColumnShort", [](JobMemory* m) { m->num_cols = 26; }, "26 columns"},
    {"ColumnLong", [](JobMemory* m) { m->num_cols = 28; }, "28 columns"},
    {"NoColumns", [](JobMemory* m) { m->num_cols = 0; }, "0 columns"},
    {"ColumnsBelow", [](JobMemory* m) { m->num_cols = -27; }, "-27 columns"},

    {"F16Rows", [](JobMemory* m) { m->row_type = DType::kF16; }, "f32 or bf16"},
    {"I8Rows", [](JobMemory* m) { m->row_type = DType::kI8; }, "rows of int8"},
    {"F8RowsWithoutScales",
     [](JobMemory* m) { m->row_type = DType::kF8E4M3; m->rows.resize(54); },
     "2 rows of 31 bytes do not make the 54 bytes"},
    {"F16Reply", [](JobMemory* m) { m->reply_type = DType::kF16; }, "f32 or bf16"},
    {"F8Reply", [](JobMemory* m) { m->reply_type = DType::kF8E4M3; }, "ask for fp8"},
    {"OtherRowType", [](JobMemory* m) { m->row_type = DType::kF32; }, "108 bytes given"},
    {"UnknownType", [](JobMemory* m) { m->row_type = static_cast<DType>(200); }, "f32 or bf16"},

    {"ExpertBelow", [](JobMemory* m) { m->pick_expert[0] = -1; }, "expert -1 of 8"},
    {"ExpertAbove", [](JobMemory* m) { m->pick_expert[4] = 8; }, "expert 8 of 8"},
    {"ExpertFarAbove", [](JobMemory* m) { m->pick_expert[4] = kMax; }, "expert 2147483647"},
    {"ExpertFarBelow", [](JobMemory* m) { m->pick_expert[2] = kMin; }, "expert -2147483648"},
    {"ExpertTwice", [](JobMemory* m) { m->pick_expert[1] = 1; }, "row 0"},
    {"ExpertsDescend", [](JobMemory* m) { m->pick_expert[3] = 0; }, "row 1"},
    {"HeldElsewhere", [](JobMemory* m) { m->pick_expert[4] = 7; }, "expert 7 of layer 1",
     absl::StatusCode::kNotFound},
};
// clang-format on

class BadExpertJobTest : public testing::TestWithParam<BadJob> {};

TEST_P(BadExpertJobTest, IsRefusedInWords) {
  JobMemory memory = good_job();
  GetParam().spoil(&memory);
  const absl::Status status = check(memory.job());
  EXPECT_EQ(status.code(), GetParam().code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().word));
}

INSTANTIATE_TEST_SUITE_P(Jobs, BadExpertJobTest, testing::ValuesIn(kBadJobs),
                         [](const testing::TestParamInfo<BadJob>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace conclave
