// model.safetensors.index.json: which shard holds which tensor. Source: docs/models.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace conclave {

struct ShardIndex {
  std::vector<std::string> file_names;  // sorted, each once
  absl::flat_hash_map<std::string, std::string> file_of_tensor;
};

// Every shard is a plain file name: no path, so that an index cannot reach out of its folder.
absl::StatusOr<ShardIndex> parse_shard_index(std::string_view text, std::string_view where);

}  // namespace conclave
