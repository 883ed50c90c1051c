// A family translates its config.json into a ModelConfig; one small file of families/ each.
//
// To add one: a file with a Family, its line in family_registry.cc, and whatever attention form,
// gate or tensor it brings along. Families share the readers beside this file and add what is their
// own: the model types they answer to, the defaults of their published class, the gates they may
// have.
#pragma once

#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/config/json_reader.h"
#include "model/config/model_config.h"

namespace conclave {

class Family {
 public:
  virtual ~Family() = default;

  virtual std::string_view name() const = 0;
  // Values of model_type that this family reads.
  virtual std::span<const std::string_view> model_types() const = 0;
  // Everything but ModelConfig::model_type and ::family.
  virtual absl::StatusOr<ModelConfig> parse(const JsonReader& json) const = 0;
};

const Family* deepseek_v2_family();
const Family* deepseek_v3_family();

std::span<const Family* const> all_families();
// Null when no family answers to `model_type`.
const Family* find_family(std::string_view model_type);

}  // namespace conclave
