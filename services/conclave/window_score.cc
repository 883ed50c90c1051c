#include "services/conclave/window_score.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "common/check.h"
#include "common/status_macros.h"
#include "kernels/softmax.h"

namespace conclave {
namespace {

// Gathers the rows of all positions but the last, which predicts what is not in the window.
class RowGatherer final : public RequestObserver {
 public:
  RowGatherer(size_t num_rows, int32_t vocab_size) : num_rows_(num_rows) {
    logits_.vocab_size = vocab_size;
    logits_.values.reserve(num_rows * static_cast<size_t>(vocab_size));
  }

  void on_logits(int32_t position, std::span<const float> logits) override {
    if (static_cast<size_t>(position) >= num_rows_) return;
    for (const float value : logits) is_finite_ = is_finite_ && std::isfinite(value);
    logits_.values.insert(logits_.values.end(), logits.begin(), logits.end());
  }
  void on_token(const GeneratedToken&) override {}
  void on_finished(const Finish& finish) override { finish_ = finish; }

  const std::optional<Finish>& finish() const { return finish_; }
  bool is_finite() const { return is_finite_; }
  WindowLogits take() { return std::move(logits_); }

 private:
  const size_t num_rows_;
  WindowLogits logits_;
  bool is_finite_ = true;
  std::optional<Finish> finish_;
};

size_t best_of(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// sum of p (ln p - ln q)
double divergence_of(std::span<const float> p_logits, std::span<const float> q_logits) {
  const double p_norm = log_sum_exp(p_logits);
  const double q_norm = log_sum_exp(q_logits);
  double sum = 0;
  for (size_t i = 0; i < p_logits.size(); ++i) {
    const double ln_p = p_logits[i] - p_norm;
    sum += std::exp(ln_p) * (ln_p - (q_logits[i] - q_norm));
  }
  return sum;
}

}  // namespace

double TextScore::perplexity() const { return std::exp(nats_per_id()); }

TextWindows cut_windows(std::span<const int32_t> ids, int32_t bos_id, int32_t window_ids) {
  CHECK(window_ids >= 2);
  const size_t num_first = bos_id >= 0 ? 1 : 0;
  const size_t room = static_cast<size_t>(window_ids) - num_first;
  TextWindows cut;
  for (size_t begin = 0; begin < ids.size(); begin += room) {
    const std::span<const int32_t> part = ids.subspan(begin, std::min(room, ids.size() - begin));
    std::vector<int32_t> window(num_first, bos_id);
    window.insert(window.end(), part.begin(), part.end());
    if (window.size() < 2) continue;  // nothing is predicted in it
    cut.num_predicted += static_cast<int64_t>(window.size()) - 1;
    cut.windows.push_back(std::move(window));
  }
  return cut;
}

absl::StatusOr<WindowLogits> run_window(LocalModel* model, const std::vector<int32_t>& ids,
                                        int32_t vocab_size) {
  RowGatherer rows(ids.size() - 1, vocab_size);
  Request request{.id = RequestId{1}, .prompt = ids, .score_only = true, .wants_logits = true};
  request.observer = &rows;
  RETURN_IF_ERROR(model->engine().submit(std::move(request)));
  while (!rows.finish()) CHECK(model->engine().step());
  RETURN_IF_ERROR(rows.finish()->status);
  if (!rows.is_finite()) return absl::InternalError("the logits hold NaN or infinity");
  return rows.take();
}

void add_score(const WindowLogits& logits, std::span<const int32_t> ids, TextScore* score) {
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    const std::span<const float> row = logits.row(i);
    score->nats += log_sum_exp(row) - row[static_cast<size_t>(ids[i + 1])];
    ++score->num_predicted;
  }
}

void add_agreement(const WindowLogits& ours, const WindowLogits& theirs, Agreement* agreement) {
  CHECK(ours.values.size() == theirs.values.size());
  const size_t num_rows = ours.values.size() / static_cast<size_t>(ours.vocab_size);
  for (size_t i = 0; i < num_rows; ++i) {
    agreement->num_same_best += best_of(ours.row(i)) == best_of(theirs.row(i)) ? 1 : 0;
    agreement->divergence += divergence_of(theirs.row(i), ours.row(i));
    ++agreement->num_rows;
  }
}

}  // namespace conclave
