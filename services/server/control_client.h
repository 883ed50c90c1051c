// A server's standing line to control (Control.Register), kept alive by a thread of its own: hello,
// then a heartbeat at the interval that control names, and again from the start when the line
// breaks.
//
// Pauses between attempts grow from 100 ms to 2 s. A refusal is tried again every 2 s, for whoever
// is in the way may leave (ALREADY_EXISTS after a quick restart); only when the very first answer
// is FAILED_PRECONDITION or INVALID_ARGUMENT, which a person has to mend, on_refused() is called
// with it and the thread rests. Every change is logged once.
//
// Thread-safe, but for leave() and the destructor: one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gateway/server_facts.h"
#include "model/config/model_config.h"

namespace conclave {

class ControlClient {
 public:
  struct Options {
    std::string control;  // HOST:PORT
    ServerFacts facts;
    const ModelConfig* config = nullptr;  // outlives the client; of servers that are managed
    absl::Duration first_pause = absl::Milliseconds(100);
    absl::Duration longest_pause = absl::Seconds(2);
    absl::Duration refused_pause = absl::Seconds(2);
    absl::Duration welcome_timeout = absl::Seconds(5);
  };
  // Called on the client's thread; what they use outlives the client.
  struct Listener {
    std::function<Heartbeat()> heartbeat;         // the load now; `draining` is the client's to say
    std::function<void()> on_registered = [] {};  // each time
    // Before each hello: brings the facts up to date. Orders begin anew then.
    std::function<void(ServerFacts*)> on_hello = [](ServerFacts*) {};
    std::function<void(ExpertOrder)> on_order = [](const ExpertOrder&) {};
    std::function<void(const absl::Status&)> on_refused = [](const absl::Status&) {};  // see above
  };

  // Starts the thread.
  ControlClient(Options options, Listener listener);

  // leave()
  ~ControlClient();

  ControlClient(const ControlClient&) = delete;
  ControlClient& operator=(const ControlClient&) = delete;

  bool registered() const;  // now
  bool ever_registered() const;
  bool may_leave() const;  // control has said Goodbye since drain(), on any line

  // The next heartbeat goes at once.
  void beat_now();

  // From now on heartbeats say that this server wants to leave, the next one at once.
  void drain();

  // Closes the line, which takes the server out of the cluster, and joins the thread. Idempotent.
  void leave();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace conclave
