#include "router/transport_loopback.h"

#include "absl/strings/str_format.h"
#include "common/check.h"

namespace conclave {

void LoopbackTransport::send(const LegRequest& request, LegReply* reply) {
  reply->done = false;
  const auto found = servers_.find(request.server);
  if (found == servers_.end()) {
    reply->status = absl::UnavailableError(
        absl::StrFormat("there is no expert server %d", static_cast<int32_t>(request.server)));
    reply->done = true;
    return;
  }
  found->second->submit(request, reply);
}

void LoopbackTransport::wait(std::span<LegReply* const> replies) {
  for (const auto& [id, server] : servers_) server->run();
  for (const LegReply* reply : replies) CHECK(reply->done);
}

}  // namespace conclave
