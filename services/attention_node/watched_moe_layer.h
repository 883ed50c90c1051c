// A layer of experts that tells a ProgressWatch whenever the step thread comes by: a step of many
// rows through many layers may take minutes, and one layer of it does not.
#pragma once

#include <memory>

#include "router/moe_layer.h"
#include "services/server/progress_watch.h"

namespace conclave {

class WatchedMoeLayer final : public MoeLayer {
 public:
  // Both outlive this.
  WatchedMoeLayer(MoeLayer* inner, ProgressWatch* watch) : inner_(inner), watch_(watch) {}

  std::unique_ptr<MoeStep> new_step() override { return inner_->new_step(); }

  absl::Status begin(int32_t layer_idx, Rows<const float> x, MoeStep* step) override {
    watch_->progress(/*has_work=*/true);
    return inner_->begin(layer_idx, x, step);
  }

  absl::Status finish(MoeStep* step, Rows<float> out) override {
    absl::Status status = inner_->finish(step, out);
    watch_->progress(/*has_work=*/true);
    return status;
  }

 private:
  MoeLayer* const inner_;
  ProgressWatch* const watch_;
};

}  // namespace conclave
