// A pair of rings between two processes, and how it is made:
//
//   client                                            server
//     connect to its endpoint, say hello with the      (unix_socket.h)
//     page of its doorbell                     ---->
//                                              <----  welcome: rings made by the server, its
//                                                     doorbell's page
//     write a record, ring the server's bell   ====>  one thread reads all its links
//     one thread reads all its links           <====  write a record, ring the client's bell
//
// The socket says nothing more; that it hangs up is how either side learns that the other is gone.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/doorbell.h"
#include "common/unique_fd.h"
#include "router/shm/ring.h"
#include "router/shm/shared_memory.h"

namespace conclave {

// A doorbell that other processes can ring.
class SharedDoorbell {
 public:
  static absl::StatusOr<std::unique_ptr<SharedDoorbell>> create(absl::Duration spin);
  static absl::StatusOr<std::unique_ptr<SharedDoorbell>> of_neighbour(UniqueFd fd);

  Doorbell* bell() { return &bell_; }
  int fd() const { return page_.fd(); }

 private:
  SharedDoorbell(SharedMemory page, absl::Duration spin);

  const SharedMemory page_;
  Doorbell bell_;
};

class ShmLink {
 public:
  static constexpr size_t kRingBytes = size_t{128} << 20;  // each way; taken as it is touched

  // The client's two halves: what it says, and what it makes of the answer. UNAVAILABLE while there
  // is none yet or the server has hung up.
  static absl::Status say_hello(int socket, const SharedDoorbell& own_bell);
  static absl::StatusOr<std::unique_ptr<ShmLink>> join(UniqueFd* socket);

  // The server's.
  static absl::StatusOr<std::unique_ptr<ShmLink>> welcome(UniqueFd* socket,
                                                          const SharedDoorbell& own_bell);

  int socket() const { return socket_.get(); }
  RingWriter* writer() { return &writer_; }
  RingReader* reader() { return &reader_; }
  Doorbell* other_bell() { return bell_->bell(); }

 private:
  ShmLink(UniqueFd socket, SharedMemory memory, std::unique_ptr<SharedDoorbell> bell,
          bool is_server);

  const UniqueFd socket_;
  const SharedMemory memory_;
  const std::unique_ptr<SharedDoorbell> bell_;
  RingWriter writer_;
  RingReader reader_;
};

}  // namespace conclave
