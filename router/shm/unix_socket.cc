#include "router/shm/unix_socket.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

constexpr size_t kNameBytes = 16;
constexpr size_t kMaxFds = 4;
constexpr int kBacklog = 64;

absl::Status failed(const char* what) {
  return absl::UnavailableError(absl::StrFormat("%s: %s", what, std::strerror(errno)));
}

struct Address {
  sockaddr_un bytes{.sun_family = AF_UNIX, .sun_path = {}};
  socklen_t size = 0;
};

// A leading zero makes the name abstract.
Address address_of(const ShmEndpoint& endpoint) {
  const std::string name = "conclave-" + endpoint.name();
  Address address;
  CHECK(name.size() + 1 <= sizeof(address.bytes.sun_path));
  std::memcpy(address.bytes.sun_path + 1, name.data(), name.size());
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

absl::StatusOr<UniqueFd> new_socket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return failed("socket");
  return fd;
}

// Shared memory is for those who could stop us anyway.
absl::Status check_user(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return failed("SO_PEERCRED");
  if (peer.uid == geteuid()) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrFormat("a process of user %d; this one is of user %d", peer.uid, geteuid()));
}

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string network_namespace() {
  std::array<char, 64> target{};
  const ssize_t size = readlink("/proc/self/ns/net", target.data(), target.size());
  return size > 0 ? std::string(target.data(), static_cast<size_t>(size)) : "net:?";
}

void take_fds(const msghdr& header, std::vector<UniqueFd>* fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
       part = CMSG_NXTHDR(const_cast<msghdr*>(&header), part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      fds->emplace_back(fd);
    }
  }
}

}  // namespace

ShmEndpoint ShmEndpoint::make() {
  std::string random(kNameBytes, '\0');
  CHECK(getrandom(random.data(), random.size(), 0) == static_cast<ssize_t>(random.size()));
  return {here(), absl::BytesToHexString(random)};
}

std::string ShmEndpoint::here() {
  return first_line("/proc/sys/kernel/random/boot_id") + "/" + network_namespace();
}

absl::StatusOr<ShmEndpoint> ShmEndpoint::parse(const std::string& text) {
  const size_t slash = text.rfind('/');
  if (slash != std::string::npos) {
    const std::string name = text.substr(slash + 1);
    const bool is_hex = name.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (is_hex && name.size() == 2 * kNameBytes) return ShmEndpoint(text.substr(0, slash), name);
  }
  return absl::InvalidArgumentError("no endpoint of shared memory");
}

absl::StatusOr<UniqueFd> listen_at(const ShmEndpoint& endpoint) {
  ASSIGN_OR_RETURN(UniqueFd fd, new_socket());
  const Address address = address_of(endpoint);
  const auto* const bytes = reinterpret_cast<const sockaddr*>(&address.bytes);
  if (bind(fd.get(), bytes, address.size) != 0) return failed("bind");
  if (listen(fd.get(), kBacklog) != 0) return failed("listen");
  return fd;
}

absl::StatusOr<UniqueFd> connect_to(const ShmEndpoint& endpoint) {
  ASSIGN_OR_RETURN(UniqueFd fd, new_socket());
  const Address address = address_of(endpoint);
  const auto* const bytes = reinterpret_cast<const sockaddr*>(&address.bytes);
  if (connect(fd.get(), bytes, address.size) != 0) return failed("connect");
  RETURN_IF_ERROR(check_user(fd.get()));
  return fd;
}

absl::StatusOr<UniqueFd> accept_from(int listener) {
  UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) return failed("accept");
  RETURN_IF_ERROR(check_user(fd.get()));
  return fd;
}

absl::Status send_message(int socket, const void* bytes, size_t num_bytes,
                          const std::vector<int>& fds) {
  CHECK(fds.size() <= kMaxFds);
  iovec part{.iov_base = const_cast<void*>(bytes), .iov_len = num_bytes};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  }
  if (sendmsg(socket, &header, MSG_NOSIGNAL) != static_cast<ssize_t>(num_bytes)) {
    return failed("sendmsg");
  }
  return absl::OkStatus();
}

absl::StatusOr<SocketMessage> receive_message(int socket, size_t max_bytes) {
  SocketMessage message;
  message.bytes.resize(max_bytes);
  iovec part{.iov_base = message.bytes.data(), .iov_len = max_bytes};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t size = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  if (size < 0) return failed("recvmsg");
  take_fds(header, &message.fds);
  if (size == 0) return absl::UnavailableError("the other side has gone");
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return absl::InvalidArgumentError("a message that is too large");
  }
  message.bytes.resize(static_cast<size_t>(size));
  return message;
}

}  // namespace conclave
