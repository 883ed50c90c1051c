#include "router/shm/shm_link.h"

#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "router/shm/unix_socket.h"

namespace conclave {
namespace {

constexpr uint64_t kMagic = 0x636e636c76736801;
constexpr uint32_t kVersion = 1;
constexpr size_t kPageBytes = 4096;
constexpr size_t kLinkBytes = 2 * (sizeof(RingWords) + ShmLink::kRingBytes);

// What both sides say first: who does not speak this language is let go.
struct Greeting {
  uint64_t magic = kMagic;
  uint32_t version = kVersion;
  uint32_t reserved = 0;
  uint64_t link_bytes = kLinkBytes;
};

absl::StatusOr<SocketMessage> receive_greeting(int socket, size_t num_fds) {
  ASSIGN_OR_RETURN(SocketMessage message, receive_message(socket, sizeof(Greeting)));
  Greeting said;
  if (message.bytes.size() == sizeof(said)) {
    std::memcpy(&said, message.bytes.data(), sizeof(said));
    const bool is_ours = said.magic == kMagic && said.version == kVersion &&
                         said.link_bytes == kLinkBytes && message.fds.size() == num_fds;
    if (is_ours) return message;
  }
  return absl::FailedPreconditionError("a neighbour that speaks another version of shared memory");
}

RingView ring_at(const SharedMemory& memory, int place) {
  const size_t offset = static_cast<size_t>(place) * RingView::num_bytes(ShmLink::kRingBytes);
  return RingView::at(memory.data() + offset, ShmLink::kRingBytes);
}

}  // namespace

SharedDoorbell::SharedDoorbell(SharedMemory page, absl::Duration spin)
    : page_(std::move(page)),
      bell_(std::launder(reinterpret_cast<DoorbellWord*>(page_.data())), spin) {}

absl::StatusOr<std::unique_ptr<SharedDoorbell>> SharedDoorbell::create(absl::Duration spin) {
  ASSIGN_OR_RETURN(SharedMemory page, SharedMemory::create(kPageBytes));
  return std::unique_ptr<SharedDoorbell>(new SharedDoorbell(std::move(page), spin));
}

absl::StatusOr<std::unique_ptr<SharedDoorbell>> SharedDoorbell::of_neighbour(UniqueFd fd) {
  ASSIGN_OR_RETURN(SharedMemory page, SharedMemory::map(std::move(fd), kPageBytes));
  return std::unique_ptr<SharedDoorbell>(new SharedDoorbell(std::move(page), absl::ZeroDuration()));
}

// The first ring is the client's to write.
ShmLink::ShmLink(UniqueFd socket, SharedMemory memory, std::unique_ptr<SharedDoorbell> bell,
                 bool is_server)
    : socket_(std::move(socket)),
      memory_(std::move(memory)),
      bell_(std::move(bell)),
      writer_(ring_at(memory_, is_server ? 1 : 0)),
      reader_(ring_at(memory_, is_server ? 0 : 1)) {}

absl::Status ShmLink::say_hello(int socket, const SharedDoorbell& own_bell) {
  const Greeting hello;
  return send_message(socket, &hello, sizeof(hello), {own_bell.fd()});
}

absl::StatusOr<std::unique_ptr<ShmLink>> ShmLink::join(UniqueFd* socket) {
  ASSIGN_OR_RETURN(SocketMessage said, receive_greeting(socket->get(), 2));
  ASSIGN_OR_RETURN(SharedMemory memory, SharedMemory::map(std::move(said.fds[0]), kLinkBytes));
  ASSIGN_OR_RETURN(auto bell, SharedDoorbell::of_neighbour(std::move(said.fds[1])));
  return std::unique_ptr<ShmLink>(
      new ShmLink(std::move(*socket), std::move(memory), std::move(bell), /*is_server=*/false));
}

absl::StatusOr<std::unique_ptr<ShmLink>> ShmLink::welcome(UniqueFd* socket,
                                                          const SharedDoorbell& own_bell) {
  ASSIGN_OR_RETURN(SocketMessage said, receive_greeting(socket->get(), 1));
  ASSIGN_OR_RETURN(auto bell, SharedDoorbell::of_neighbour(std::move(said.fds[0])));
  ASSIGN_OR_RETURN(SharedMemory memory, SharedMemory::create(kLinkBytes));
  const Greeting answer;
  RETURN_IF_ERROR(
      send_message(socket->get(), &answer, sizeof(answer), {memory.fd(), own_bell.fd()}));
  return std::unique_ptr<ShmLink>(
      new ShmLink(std::move(*socket), std::move(memory), std::move(bell), /*is_server=*/true));
}

}  // namespace conclave
