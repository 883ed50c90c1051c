// Which servers hold which expert: a versioned table of layer x expert -> servers, built with add()
// and not changed once it is in use.
//
// Layers that are dense have no experts and no entries. An expert that nobody holds has an empty
// list; who plans a dispatch must look. Plain value: copy it, compare it, send it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/ids.h"
#include "model/config/model_config.h"

namespace conclave {

inline constexpr ServerId kNoServer{-1};

class Placement {
 public:
  Placement(int32_t num_layers, int32_t num_experts, int64_t version);

  // Server i of `num_servers` holds expert e of every MoE layer where e * num_servers / E == i: the
  // split of ExpertRange.
  static Placement even(const ModelConfig& config, int32_t num_servers);

  void add(int32_t layer_idx, int32_t expert, ServerId server);

  int64_t version() const { return version_; }
  int32_t num_layers() const { return num_layers_; }
  int32_t num_experts() const { return num_experts_; }

  // Everyone who holds the expert, in the order they were added.
  std::span<const ServerId> holders(int32_t layer_idx, int32_t expert) const;

  // One server per expert of a layer, the first holder; kNoServer where there is none. [E]
  std::span<const ServerId> homes(int32_t layer_idx) const;

 private:
  size_t place(int32_t layer_idx, int32_t expert) const;

  int32_t num_layers_ = 0;
  int32_t num_experts_ = 0;
  int64_t version_ = 0;
  std::vector<std::vector<ServerId>> holders_;  // [L * E]
  std::vector<ServerId> homes_;                 // [L * E]
};

}  // namespace conclave
