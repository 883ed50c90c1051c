// A checkpoint with its config, loaded as the servers load it, and weights compared by their
// values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/checkpoint/checkpoint.h"
#include "model/config/model_config.h"
#include "model/weights/weights.h"
#include "tests/model/checkpoint/fake_checkpoint.h"

namespace conclave {

struct Model {
  ModelConfig config;
  std::unique_ptr<Checkpoint> checkpoint;
};

Model open_golden(const std::string& name);
Model open_dir(const TempDir& dir, const ModelConfig& config);

// Views into `model`.
TrunkWeights trunk_of(const Model& model);
ExpertWeights experts_of(const Model& model, const ExpertRange& range = {});

// Number by number, dequantised as kernels do.
void expect_same(const Weight& a, const Weight& b);
void expect_same(const FfnWeights& a, const FfnWeights& b);
void expect_same(const ExpertWeights& a, const ExpertWeights& b);
void expect_same(const TrunkWeights& a, const TrunkWeights& b, const ModelConfig& config);

}  // namespace conclave
