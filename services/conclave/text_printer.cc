#include "services/conclave/text_printer.h"

#include <cstdio>
#include <utility>

#include "common/check.h"
#include "services/conclave/prompt.h"

namespace conclave {
TextPrinter::TextPrinter(const ModelFolder* folder, const Clock* clock, Options options)
    : folder_(folder),
      clock_(clock),
      options_(std::move(options)),
      stop_matcher_(options_.stops),
      times_(clock->now()) {
  CHECK(folder->tokenizer != nullptr || (options_.print_ids && options_.stops.empty()));
  if (folder_->tokenizer != nullptr) {
    decoder_.emplace(folder_->tokenizer.get(), /*skip_special=*/true);
  }
}

void TextPrinter::on_prompt_logprobs(std::vector<Logprobs> logprobs) {
  for (size_t i = 0; i < logprobs.size(); ++i) print_logprobs("prompt", i + 1, logprobs[i]);
}

void TextPrinter::on_token(const GeneratedToken& token) {
  times_.on_tokens(clock_->now(), 1);
  ids_.push_back(token.id);
  if (token.logprobs) print_logprobs("generated", ids_.size() - 1, *token.logprobs);
  if (!decoder_) return;
  print(stop_matcher_.push(decoder_->push(token.id)));
  if (stop_matcher_.matched()) options_.cancel();
}

void TextPrinter::on_finished(const Finish& finish) {
  finish_ = finish;
  if (decoder_ && !stop_matcher_.matched()) {
    print(stop_matcher_.push(decoder_->finish()));
    if (!stop_matcher_.matched()) print(stop_matcher_.finish());
  }
  // A stop string is an end like any other, though the engine was told to cancel.
  if (stop_matcher_.matched()) finish_ = Finish{.reason = FinishReason::kStopId};
  if (options_.print_ids && finish_->status.ok()) {
    std::fprintf(stdout, "%s\n", join_ids(ids_).c_str());
  } else if (!options_.print_ids) {
    std::fputc('\n', stdout);
  }
  std::fflush(stdout);
}

void TextPrinter::print(const std::string& text) {
  if (options_.print_ids || text.empty()) return;
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  if (std::ferror(stdout) != 0) options_.cancel();  // nobody will read the rest
}

const char* TextPrinter::reason() const {
  if (stop_matcher_.matched()) return "stop string";
  switch (finish_->reason) {
    case FinishReason::kStopId:
      return "stop id";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "?";
}

std::string TextPrinter::statistics(int32_t num_prompt, uint64_t seed) const {
  return times_.statistics(num_prompt, reason(), seed);
}

}  // namespace conclave
