// What main() of every server is made of: flags, an exit code, the end.
//
//   int main(int argc, char** argv) {
//     ServerFlags flags;
//     return conclave::server_main(argc, argv, {.name = "expert_server", ...,
//         .add_flags = [&](CLI::App* app) { flags.add_to(app, ServerFlags::Kind::kNode); },
//         .run = [&](StopSignal* stop) { return run(flags, stop); }});
//   }
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "services/server/control_client.h"
#include "services/server/stop_signal.h"

namespace conclave {

struct ServerMain {
  std::string name;         // of the binary and the role
  std::string description;  // for --help
  std::function<void(CLI::App*)> add_flags;
  std::function<absl::Status(StopSignal*)> run;  // until the process is to end
};

// Exit codes: 0 a graceful end, 1 a failure, which is logged with its status, 2 a command line that
// cannot be read. No exception leaves it.
int server_main(int argc, char** argv, const ServerMain& main);

// For the progress of loading: ends the process with exit code 0 where it was asked to stop. Nobody
// depends on a server that has not said yet that it is there.
void exit_if_stopped(StopSignal* stop);

struct DrainOptions {
  absl::Duration timeout;
  std::function<bool()> is_idle;  // nobody uses this server now
};

// Tells control that this server wants to leave and blocks until it may go: control says so, or
// nobody uses it and control cannot be reached, or time is up, or a second signal came. The reason
// is logged.
void drain(const DrainOptions& options, ControlClient* control, StopSignal* stop);

// Of this process: random, so that a server that comes back under the same name is told apart.
uint64_t make_incarnation();

// Of the software.
const char* server_version();

}  // namespace conclave
