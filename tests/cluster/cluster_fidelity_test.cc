// Contract C2 through clusters of real processes with f32 wire and cache, on every golden
// checkpoint, with both routing places, both transports and two attention nodes:
//   - every greedy id is the reference's;
//   - ln-probabilities are those of the reference's logits, within 1e-4 of the row's largest
//     absolute logit on either side of the normalisation, whether the ids are prompt or generated.
// Raw logits do not leave an attention node; that they are right is for tests/services.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>

#include "services/local/local_model.h"
#include "services/server/request_codec.h"
#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"

namespace conclave {
namespace {

constexpr double kTolerance = 1e-4;

struct Reference {
  double logprob = 0;  // of the id that follows
  double largest = 0;  // absolute logit of the row
};

Reference reference_of(const float* row, int32_t vocab, int32_t next_id) {
  Reference reference;
  double highest = -INFINITY;
  for (int32_t i = 0; i < vocab; ++i) {
    highest = std::max<double>(highest, row[i]);
    reference.largest = std::max<double>(reference.largest, std::fabs(row[i]));
  }
  double sum = 0;
  for (int32_t i = 0; i < vocab; ++i) sum += std::exp(double{row[i]} - highest);
  reference.logprob = row[next_id] - highest - std::log(sum);
  return reference;
}

// Golden, expert servers, routing, transport.
using Case = std::tuple<const char*, int32_t, const char*, const char*>;

class ClusterFidelityTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto [golden, servers, routing, transport] = GetParam();
    auto folder = read_model_folder(golden_dir(golden));
    ASSERT_TRUE(folder.ok()) << folder.status();
    folder_ = std::make_unique<ModelFolder>(*std::move(folder));
    LocalCluster::Options options = cluster_of(folder_->dir, /*nodes=*/2, servers);
    options.routing = routing;
    options.transport = transport;
    for (auto* const flags : {&options.gateway_flags, &options.node_flags}) {
      flags->insert(flags->end(), {"--wire-out=f32", "--wire-back=f32"});
    }
    options.node_flags.insert(options.node_flags.end(),
                              {"--cache-dtype=f32", "--cache-tokens=4096", "--prefill-chunk=7"});
    cluster_ = start_cluster(std::move(options));
  }

  std::vector<Logprobs> score(const std::vector<int32_t>& ids, int32_t num_prompt) {
    const auto stub = v1::Inference::NewStub(channel_to(cluster_->address()));
    v1::ScoreRequest request;
    request.mutable_ids()->mutable_ids()->Add(ids.begin(), ids.end());
    request.set_num_prompt_ids(num_prompt);
    v1::ScoreResponse response;
    grpc::ClientContext context;
    const grpc::Status status = stub->Score(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return from_proto(response.logprobs());
  }

  std::unique_ptr<ModelFolder> folder_;
  std::unique_ptr<LocalCluster> cluster_;
};

TEST_P(ClusterFidelityTest, GreedyIdsAreTheReferences) {
  for (const GoldenPrompt& golden : read_golden(folder_->dir)) {
    Request request{.prompt = golden.prompt};
    request.sampling.temperature = 0;
    request.sampling.max_tokens = static_cast<int32_t>(golden.greedy.size());
    const Answer answer =
        conclave::run_requests(cluster_->address(), {request}, Company::kAlone).front();
    EXPECT_EQ(answer.ids, golden.greedy);
  }
}

TEST_P(ClusterFidelityTest, LogprobsAreTheReferences) {
  const int32_t vocab = folder_->config.vocab_size;
  for (const GoldenPrompt& golden : read_golden(folder_->dir)) {
    const std::vector<int32_t> ids = golden.scored_ids();
    for (const int32_t num_prompt : {0, 1}) {
      const std::vector<Logprobs> logprobs = score(ids, num_prompt);
      ASSERT_EQ(logprobs.size(), ids.size() - 1);
      for (size_t i = 0; i < logprobs.size(); ++i) {
        ASSERT_EQ(logprobs[i].chosen.id, ids[i + 1]);
        const Reference reference =
            reference_of(&golden.logits[i * static_cast<size_t>(vocab)], vocab, ids[i + 1]);
        ASSERT_NEAR(logprobs[i].chosen.logprob, reference.logprob,
                    2 * kTolerance * reference.largest)
            << "position " << i << " with " << num_prompt << " prompt ids";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, ClusterFidelityTest,
                         testing::Values(Case{"deepseek_v2_lite", 2, "local", "grpc"},
                                         Case{"deepseek_v2", 3, "gateway", "shm"},
                                         Case{"deepseek_v3", 1, "local", "shm"},
                                         Case{"deepseek_v3", 5, "gateway", "grpc"},
                                         Case{"deepseek_v3_fp8", 2, "local", "grpc"},
                                         Case{"moonlight", 3, "local", "shm"},
                                         Case{"moonlight", 1, "gateway", "grpc"},
                                         Case{"bard", 5, "local", "shm"}),
                         [](const testing::TestParamInfo<Case>& info) {
                           return std::string(std::get<0>(info.param)) + "_servers" +
                                  std::to_string(std::get<1>(info.param)) + "_" +
                                  std::get<2>(info.param) + "_" + std::get<3>(info.param);
                         });

}  // namespace
}  // namespace conclave
