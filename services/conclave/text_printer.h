// What one request says, on its way to the terminal: ids become text piece by piece, stop strings
// cut it, and times are taken for the statistics.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "attention/request.h"
#include "common/clock.h"
#include "model/tokenizer/incremental_decoder.h"
#include "model/tokenizer/stop_matcher.h"
#include "services/conclave/answer_report.h"
#include "services/local/model_folder.h"

namespace conclave {

class TextPrinter final : public RequestObserver {
 public:
  struct Options {
    bool print_ids = false;  // ids at the end instead of text as it comes
    std::vector<std::string> stops;
    std::function<void()> cancel;  // called when a stop string was found or stdout fails
  };

  // `folder` and `clock` outlive the printer. REQUIRES: text or stops need folder.tokenizer
  TextPrinter(const ModelFolder* folder, const Clock* clock, Options options);

  void on_prompt_logprobs(std::vector<Logprobs> logprobs) override;
  void on_token(const GeneratedToken& token) override;
  void on_finished(const Finish& finish) override;

  bool finished() const { return finish_.has_value(); }
  const absl::Status& status() const { return finish_->status; }

  // See AnswerTimes.
  std::string statistics(int32_t num_prompt, uint64_t seed) const;

 private:
  void print(const std::string& text);
  const char* reason() const;

  const ModelFolder* const folder_;
  const Clock* const clock_;
  const Options options_;
  std::optional<IncrementalDecoder> decoder_;
  StopMatcher stop_matcher_;
  std::vector<int32_t> ids_;
  AnswerTimes times_;
  std::optional<Finish> finish_;
};

}  // namespace conclave
