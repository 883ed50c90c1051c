#include "tests/support/run_requests.h"

#include <bit>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "common/check.h"

namespace conclave {
namespace {

class Recorder final : public RequestObserver {
 public:
  explicit Recorder(Answer* answer) : answer_(answer) {}

  void on_prompt_logprobs(std::vector<Logprobs> logprobs) override {
    CHECK(answer_->prompt_logprobs.empty());
    answer_->prompt_logprobs = std::move(logprobs);
  }
  void on_logits(int32_t, std::span<const float> logits) override {
    answer_->logits.insert(answer_->logits.end(), logits.begin(), logits.end());
  }
  void on_token(const GeneratedToken& token) override {
    answer_->ids.push_back(token.id);
    if (token.logprobs) answer_->logprobs.push_back(*token.logprobs);
  }
  void on_finished(const Finish& finish) override { answer_->finish = finish; }

 private:
  Answer* const answer_;
};

bool same(const TokenLogprob& a, const TokenLogprob& b) {
  return a.id == b.id && std::bit_cast<uint32_t>(a.logprob) == std::bit_cast<uint32_t>(b.logprob);
}

std::optional<std::string> first_difference(const char* what, const std::vector<Logprobs>& a,
                                            const std::vector<Logprobs>& b) {
  if (a.size() != b.size()) return absl::StrFormat("%d and %d %s", a.size(), b.size(), what);
  for (size_t i = 0; i < a.size(); ++i) {
    bool equal = same(a[i].chosen, b[i].chosen) && a[i].best.size() == b[i].best.size();
    for (size_t k = 0; equal && k < a[i].best.size(); ++k) {
      equal = same(a[i].best[k], b[i].best[k]);
    }
    if (!equal) {
      return absl::StrFormat("%s %d: %d:%.9g and %d:%.9g", what, i, a[i].chosen.id,
                             a[i].chosen.logprob, b[i].chosen.id, b[i].chosen.logprob);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> first_difference(const Answer& a, const Answer& b) {
  for (size_t i = 0; i < std::max(a.ids.size(), b.ids.size()); ++i) {
    if (i < a.ids.size() && i < b.ids.size() && a.ids[i] == b.ids[i]) continue;
    return absl::StrFormat("ids differ at %d of %d and %d", i, a.ids.size(), b.ids.size());
  }
  if (a.finish->reason != b.finish->reason) return "other finish reasons";
  const auto generated = first_difference("logprobs", a.logprobs, b.logprobs);
  if (generated) return generated;
  return first_difference("prompt logprobs", a.prompt_logprobs, b.prompt_logprobs);
}

std::vector<Answer> run_requests(Engine* engine, const std::vector<Request>& requests,
                                 Company company) {
  std::vector<Answer> answers(requests.size());
  std::vector<std::unique_ptr<Recorder>> recorders;
  for (size_t i = 0; i < requests.size(); ++i) {
    recorders.push_back(std::make_unique<Recorder>(&answers[i]));
    Request request = requests[i];
    request.id = RequestId{i};
    request.observer = recorders.back().get();
    const absl::Status status = engine->submit(std::move(request));
    if (!status.ok()) check_failed(status.ToString().c_str(), __FILE__, __LINE__);
    while (company == Company::kAlone && engine->step()) {
    }
  }
  while (engine->step()) {
  }
  for (const Answer& answer : answers) CHECK(answer.finish.has_value());
  CHECK(engine->num_requests() == 0);
  CHECK(engine->cache().num_free_pages() == engine->cache().num_pages());
  return answers;
}

}  // namespace conclave
