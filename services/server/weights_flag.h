// --weights, which every process that loads a model has.
#pragma once

#include <string>

#include "CLI/CLI.hpp"
#include "model/weights/weight_types.h"

namespace conclave {

struct WeightsFlag {
  std::string text = "stored";

  // A word that cannot be is refused when the command line is parsed.
  void add_to(CLI::App* app) { add_to(app, "--weights", "Types of the weights"); }
  void add_to(CLI::App* app, const std::string& name, const std::string& meaning);

  // REQUIRES: the command line was parsed
  WeightTypes types() const;
};

}  // namespace conclave
