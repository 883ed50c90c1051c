#include <algorithm>
#include <array>

#include "model/config/family.h"

namespace conclave {

std::span<const Family* const> all_families() {
  static const std::array<const Family*, 2> kFamilies = {
      deepseek_v2_family(),
      deepseek_v3_family(),
  };
  return kFamilies;
}

const Family* find_family(std::string_view model_type) {
  for (const Family* family : all_families()) {
    const auto types = family->model_types();
    if (std::find(types.begin(), types.end(), model_type) != types.end()) return family;
  }
  return nullptr;
}

}  // namespace conclave
