#include "model/checkpoint/shard_index.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/config/json_reader.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

}  // namespace

absl::StatusOr<ShardIndex> parse_shard_index(std::string_view text, std::string_view where) {
  ASSIGN_OR_RETURN(const nlohmann::json json, parse_json(text, where));
  ASSIGN_OR_RETURN(const JsonReader top, JsonReader::of(&json, where));
  ASSIGN_OR_RETURN(const JsonReader map, top.object("weight_map"));

  ShardIndex index;
  for (const std::string& tensor : map.names()) {
    const nlohmann::json* file = map.find(tensor);
    if (!file->is_string()) return map.invalid(tensor, "expected a file name");
    const std::string& name = file->get_ref<const std::string&>();
    if (!is_plain_file_name(name)) {
      return map.invalid(tensor, "expected the plain name of a file in the same folder");
    }
    index.file_of_tensor.emplace(tensor, name);
    index.file_names.push_back(name);
  }
  if (index.file_names.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(where), ": weight_map names no tensor"));
  }
  std::sort(index.file_names.begin(), index.file_names.end());
  index.file_names.erase(std::unique(index.file_names.begin(), index.file_names.end()),
                         index.file_names.end());
  return index;
}

}  // namespace conclave
