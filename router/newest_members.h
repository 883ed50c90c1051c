// Which servers the view that came last names, for somebody who still routes by another: a step may
// wait for a server that has been taken out of the cluster since it began.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <set>

#include "common/ids.h"
#include "router/cluster_view.h"

namespace conclave {

class NewestMembers {
 public:
  void update(const ClusterView& view);

  // Whether a view came, the last was not that of `version`, and it does not name `server`.
  bool has_left(ServerId server, int64_t version) const;

 private:
  mutable std::mutex mutex_;
  std::optional<int64_t> version_;  // of no view yet
  std::set<ServerId> servers_;
};

}  // namespace conclave
