#include "tests/chaos/request_mix.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/report/report.h"
#include "common/status_macros.h"
#include "services/local/model_folder.h"
#include "tests/support/mixed_requests.h"

namespace conclave {
namespace {

constexpr int kNumLong = 16;
constexpr int kNumReferenceClients = 4;

KnownRequest long_request(int32_t i, int32_t num_ids, int32_t most_tokens, std::mt19937* random) {
  Request request;
  const auto length = static_cast<int32_t>(4 + (*random)() % 60);
  for (int32_t k = 0; k < length; ++k) {
    request.prompt.push_back(static_cast<int32_t>(2 + (*random)() % (num_ids - 2)));
  }
  request.sampling.temperature = i % 2 == 0 ? 0.f : 0.8f;
  request.sampling.seed = 77u + static_cast<uint64_t>(i);
  request.sampling.num_logprobs = i % 4 == 3 ? 3 : -1;
  request.sampling.max_tokens =
      most_tokens / 2 + static_cast<int32_t>((*random)() % (most_tokens / 2 + 1));
  return {.message = to_message(request), .is_long = true};
}

std::vector<KnownRequest> text_requests(int32_t most_tokens) {
  constexpr std::array<const char*, 6> kPrompts = {
      "To be, or not to be", "ROMEO:\nBut soft",  "All the world's a stage,",
      "Enter HAMLET",        "O brave new world", "Once more unto the breach"};
  std::vector<KnownRequest> requests;
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    KnownRequest one;
    one.message.set_text(kPrompts[i]);
    one.message.add_stop(i % 2 == 0 ? "\n\n" : "and the");
    v1::Sampling* const sampling = one.message.mutable_sampling();
    sampling->set_temperature(i % 3 == 0 ? 0 : 0.7f);
    sampling->set_seed(500 + i);
    sampling->set_max_tokens(std::max(8, most_tokens / 3));
    if (i % 2 == 1) sampling->set_num_logprobs(2);
    requests.push_back(std::move(one));
  }
  return requests;
}

// Ids, logprobs and text up to where `said` is.
Generated beginning_of(const Generated& expected, const Generated& said) {
  Generated part = expected;
  const auto cut = [](auto* what, size_t size) { what->resize(std::min(what->size(), size)); };
  cut(&part.answer.ids, said.answer.ids.size());
  cut(&part.answer.logprobs, said.answer.logprobs.size());
  cut(&part.answer.prompt_logprobs, said.answer.prompt_logprobs.size());
  cut(&part.text, said.text.size());
  return part;
}

std::optional<std::string> content_difference(const Generated& said, const Generated& expected) {
  Answer a = said.answer;
  Answer b = expected.answer;
  a.finish = b.finish = Finish{};
  const std::optional<std::string> difference = first_difference(a, b);
  if (difference || said.text == expected.text) return difference;
  return absl::StrCat("text \"", said.text, "\" in place of \"", expected.text, "\"");
}

}  // namespace

const char* verdict_name(Verdict verdict) {
  constexpr std::array<const char*, kNumVerdicts> kNames = {"same", "aborted", "cut short",
                                                            "doubled", "changed"};
  return kNames[static_cast<size_t>(verdict)];
}

Judged judge(const Generated& said, const Generated& expected) {
  if (!said.status.ok()) {
    return {Verdict::kAborted,
            absl::StrCat("status ", said.status.error_code(), ": ", said.status.error_message())};
  }
  if (const auto difference = content_difference(said, expected)) {
    const bool is_part = !content_difference(said, beginning_of(expected, said));
    const bool is_more = !content_difference(beginning_of(said, expected), expected);
    return {is_part   ? Verdict::kCutShort
            : is_more ? Verdict::kDoubled
                      : Verdict::kChanged,
            *difference};
  }
  const v1::GenerateFinished& a = said.finished;
  const v1::GenerateFinished& b = expected.finished;
  if (a.reason() != b.reason() || a.stop_string() != b.stop_string() ||
      a.num_generated_tokens() != b.num_generated_tokens()) {
    return {Verdict::kChanged, absl::StrCat("finished with ", a.ShortDebugString(), " in place of ",
                                            b.ShortDebugString())};
  }
  return {};
}

Judged judge_beginning(const Generated& said, const Generated& expected) {
  const auto difference = content_difference(said, beginning_of(expected, said));
  if (!difference) return {};
  return {Verdict::kChanged, *difference};
}

absl::StatusOr<std::vector<KnownRequest>> known_requests(const MixOptions& options,
                                                         const std::string& address) {
  ASSIGN_OR_RETURN(const ModelFolder folder, read_model_folder(options.model));
  std::vector<KnownRequest> all;
  std::mt19937 random(3);
  for (int i = 0; i < kNumLong; ++i) {
    all.push_back(long_request(i, folder.num_drawable_ids(), options.most_tokens, &random));
  }
  for (const Request& request : mixed_requests(folder.num_drawable_ids())) {
    all.push_back({.message = to_message(request)});
  }
  if (folder.tokenizer != nullptr) {
    for (KnownRequest& one : text_requests(options.most_tokens)) all.push_back(std::move(one));
  }

  std::atomic<size_t> next{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < kNumReferenceClients; ++i) {
    clients.emplace_back([&] {
      for (size_t k; (k = next++) < all.size();) {
        all[k].expected = generate(address, all[k].message);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].expected.status.ok()) continue;
    return absl::InternalError(absl::StrCat("without a fault request ", i, " ended with ",
                                            all[i].expected.status.error_message()));
  }
  return all;
}

absl::StatusOr<double> measure_prompt_pace(const std::vector<KnownRequest>& requests,
                                           const std::string& address) {
  constexpr size_t kLength = 128;
  constexpr int kRuns = 5;
  std::vector<int32_t> ids;
  for (size_t i = 0; ids.size() < kLength; i = (i + 1) % requests.size()) {
    const auto& prompt = requests[i].message.ids().ids();
    ids.insert(ids.end(), prompt.begin(), prompt.end());
  }
  const auto median_time = [&](size_t length) -> absl::StatusOr<double> {
    v1::GenerateRequest request = request_of(1);
    request.mutable_ids()->mutable_ids()->Assign(ids.begin(),
                                                 ids.begin() + static_cast<std::ptrdiff_t>(length));
    std::vector<double> seconds;
    for (int run = 0; run < kRuns; ++run) {
      const absl::Time begin = absl::Now();
      const Generated said = generate(address, request);
      if (!said.status.ok()) return absl::InternalError(said.status.error_message());
      seconds.push_back(absl::ToDoubleSeconds(absl::Now() - begin));
    }
    return spread_of(std::move(seconds)).median;
  };
  ASSIGN_OR_RETURN(const double one, median_time(1));
  ASSIGN_OR_RETURN(const double all, median_time(kLength));
  return std::max(0.0, (all - one) / (kLength - 1));
}

}  // namespace conclave
