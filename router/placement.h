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

  // Those that drain come after all that do not.
  void add(int32_t layer_idx, int32_t expert, ServerId server, bool draining = false);

  int64_t version() const { return version_; }
  int32_t num_layers() const { return num_layers_; }
  int32_t num_experts() const { return num_experts_; }

  // Everyone who holds the expert, in the order they were added.
  std::span<const ServerId> holders(int32_t layer_idx, int32_t expert) const;

  // How many of them do not drain: the first ones.
  size_t num_steady(int32_t layer_idx, int32_t expert) const;

  // Whether any expert has more than one holder.
  bool has_replicas() const { return has_replicas_; }

  // Everyone who holds anything, ascending.
  std::vector<ServerId> servers() const;

 private:
  size_t place(int32_t layer_idx, int32_t expert) const;

  int32_t num_layers_ = 0;
  int32_t num_experts_ = 0;
  int64_t version_ = 0;
  std::vector<std::vector<ServerId>> holders_;  // [L * E]
  std::vector<size_t> num_steady_;              // [L * E]
  bool has_replicas_ = false;
};

}  // namespace conclave
