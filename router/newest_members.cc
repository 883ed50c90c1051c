#include "router/newest_members.h"

namespace conclave {

void NewestMembers::update(const ClusterView& view) {
  const std::lock_guard lock(mutex_);
  version_ = view.version;
  servers_.clear();
  for (const PlacedServer& server : view.servers) servers_.insert(server.server);
}

bool NewestMembers::has_left(ServerId server, int64_t version) const {
  const std::lock_guard lock(mutex_);
  return version_ && *version_ != version && !servers_.contains(server);
}

}  // namespace conclave
