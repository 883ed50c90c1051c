// The sockets that links are made through, and whose hang-up tells that a neighbour is gone:
// abstract Unix sockets, which have a name in the network namespace and none in any folder.
//
// Only processes of the same user are let in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/unique_fd.h"

namespace conclave {

// What one message carries.
struct SocketMessage {
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> fds;
};

// Where a server of this machine is found: "BOOT/NETNS/NAME". Nothing outside knows the name before
// the server tells it.
class ShmEndpoint {
 public:
  // One that nobody has had.
  static ShmEndpoint make();

  // This machine's and namespace's part of an endpoint.
  static std::string here();

  // INVALID_ARGUMENT for text that is none.
  static absl::StatusOr<ShmEndpoint> parse(const std::string& text);

  bool is_here() const { return host_ == here(); }
  std::string to_string() const { return host_ + "/" + name_; }
  const std::string& name() const { return name_; }

 private:
  ShmEndpoint(std::string host, std::string name)
      : host_(std::move(host)), name_(std::move(name)) {}

  std::string host_;
  std::string name_;
};

// Non-blocking; errors name the endpoint.
absl::StatusOr<UniqueFd> listen_at(const ShmEndpoint& endpoint);
absl::StatusOr<UniqueFd> connect_to(const ShmEndpoint& endpoint);

// The next client; UNAVAILABLE where there is none, PERMISSION_DENIED for one of another user.
absl::StatusOr<UniqueFd> accept_from(int listener);

absl::Status send_message(int socket, const void* bytes, size_t num_bytes,
                          const std::vector<int>& fds);

// A message of at most `max_bytes`; UNAVAILABLE when there is none or the other side has gone.
absl::StatusOr<SocketMessage> receive_message(int socket, size_t max_bytes);

}  // namespace conclave
