// Orders that ThreadSanitizer cannot see: gRPC hands a reactor from one of its threads to the next
// through locks of a library that was built without the sanitizer. Everything here is nothing in
// other builds.
//
// A reaction says so at its beginning, and who starts an operation says so before it:
//
//   void OnWriteDone(bool ok) override {
//     const GrpcReaction reaction(this);
//     ...
//   }
//   hand_to_grpc(this);
//   StartWrite(&message_);
//
// Only what gRPC promises is claimed: operations happen before their reactions, all reactions
// before OnDone(), and all of a server's before its end.
#pragma once

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace conclave {

inline void hand_to_grpc([[maybe_unused]] void* reactor) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(reactor);
#endif
}

inline void take_from_grpc([[maybe_unused]] void* reactor) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(reactor);
#endif
}

#if defined(__SANITIZE_THREAD__)
inline char all_reactions = 0;  // its address
#endif

// Once a server is shut down, for what its reactions have touched.
inline void take_all_from_grpc() {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(&all_reactions);
#endif
}

// For reactions other than OnDone(), which is the last and only takes.
class GrpcReaction {
 public:
  explicit GrpcReaction(void* reactor) : reactor_(reactor) { take_from_grpc(reactor); }
  ~GrpcReaction() {
    hand_to_grpc(reactor_);
#if defined(__SANITIZE_THREAD__)
    __tsan_release(&all_reactions);
#endif
  }

  GrpcReaction(const GrpcReaction&) = delete;
  GrpcReaction& operator=(const GrpcReaction&) = delete;

 private:
  void* const reactor_;
};

}  // namespace conclave
