// How well a model predicts the ids of a text, window by window, and how far one that computes with
// other numbers agrees with it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/local/local_model.h"

namespace conclave {

// A text cut into windows that are scored apart: each begins with the model's bos id, where it has
// one, and no window knows of another.
struct TextWindows {
  std::vector<std::vector<int32_t>> windows;
  int64_t num_predicted = 0;  // ids that have another before them in their window
};

// The first id of a window is predicted by `bos_id`, or by nothing where that is -1.
TextWindows cut_windows(std::span<const int32_t> ids, int32_t bos_id, int32_t window_ids);

// Over predicted ids; sums in double, in the order of the text.
struct TextScore {
  double nats = 0;
  int64_t num_predicted = 0;

  double nats_per_id() const { return nats / static_cast<double>(num_predicted); }
  double perplexity() const;
};

struct Agreement {
  int64_t num_rows = 0;
  int64_t num_same_best = 0;  // rows whose likeliest id is the same
  double divergence = 0;      // sum of KL(theirs || ours) in nats

  double same_best() const {
    return static_cast<double>(num_same_best) / static_cast<double>(num_rows);
  }
  double mean_divergence() const { return divergence / static_cast<double>(num_rows); }
};

// Rows of logits [ids - 1, V] of one window, in order of positions.
struct WindowLogits {
  std::vector<float> values;
  int32_t vocab_size = 0;

  std::span<const float> row(size_t idx) const {
    const size_t cols = static_cast<size_t>(vocab_size);
    return std::span<const float>(values).subspan(idx * cols, cols);
  }
};

// Runs one window. INTERNAL where a logit is NaN or infinite.
absl::StatusOr<WindowLogits> run_window(LocalModel* model, const std::vector<int32_t>& ids,
                                        int32_t vocab_size);

void add_score(const WindowLogits& logits, std::span<const int32_t> ids, TextScore* score);
void add_agreement(const WindowLogits& ours, const WindowLogits& theirs, Agreement* agreement);

}  // namespace conclave
