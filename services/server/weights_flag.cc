#include "services/server/weights_flag.h"

#include "common/check.h"

namespace conclave {

void WeightsFlag::add_to(CLI::App* app, const std::string& name, const std::string& meaning) {
  const CLI::Validator readable(
      [](const std::string& word) {
        const absl::StatusOr<WeightTypes> types = parse_weight_types(word);
        return types.ok() ? std::string() : std::string(types.status().message());
      },
      "");
  app->add_option(name, text,
                  meaning + ": stored, int8, or a list such as experts=int8,head=stored")
      ->check(readable)
      ->capture_default_str();
}

WeightTypes WeightsFlag::types() const {
  const absl::StatusOr<WeightTypes> types = parse_weight_types(text);
  CHECK(types.ok());
  return *types;
}

}  // namespace conclave
