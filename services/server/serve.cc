#include "services/server/serve.h"

#include <cstdlib>
#include <exception>
#include <iostream>
#include <random>

#include "common/clock.h"
#include "common/host_memory.h"
#include "services/server/log.h"

namespace conclave {
namespace {

constexpr int kExitFailure = 1;  // it ran and failed
constexpr int kExitUsage = 2;    // the command line cannot be read
constexpr absl::Duration kDrainLook = absl::Milliseconds(100);

// --help and --version are errors to CLI11, and print on std::cout.
int finish_parse(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  std::cerr << app.get_name() << ": " << error.what() << " (see --help)\n";
  return kExitUsage;
}

int parse_and_run(int argc, char** argv, const ServerMain& main) {
  StopSignal stop;
  CLI::App app{main.description};
  app.name(main.name);
  app.set_version_flag("--version", server_version());
  main.add_flags(&app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return finish_parse(app, error);
  }
  const absl::Status status = main.run(&stop);
  if (status.ok()) return 0;
  log_error("failed", {{"role", main.name}, {"status", status}});
  return kExitFailure;
}

}  // namespace

int server_main(int argc, char** argv, const ServerMain& main) {
  keep_freed_memory();  // legs come and go, and their rows are large
  try {
    return parse_and_run(argc, argv, main);
  } catch (const std::exception& error) {  // memory that could not be had, in a library or in ours
    log_error("failed", {{"role", main.name}, {"status", error.what()}});
    return kExitFailure;
  }
}

void exit_if_stopped(StopSignal* stop) {
  if (!stop->wait(absl::ZeroDuration())) return;
  log_info("stopped while loading");
  std::_Exit(0);
}

void drain(const DrainOptions& options, ControlClient* control, StopSignal* stop) {
  const SystemClock clock;
  const absl::Time start = clock.now();
  const auto say = [&](const char* why) {
    log_info("drained", {{"why", why}, {"seconds", absl::ToDoubleSeconds(clock.now() - start)}});
  };
  log_info("draining", {{"timeout_seconds", absl::ToDoubleSeconds(options.timeout)}});
  control->drain();
  while (clock.now() - start < options.timeout) {
    if (control->may_leave()) return say("control lets it go");
    if (!control->registered() && options.is_idle()) {
      return say("control is away and nobody asks");
    }
    if (stop->wait(kDrainLook)) return say("asked again");
  }
  say("time is up");
}

uint64_t make_incarnation() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

const char* server_version() { return CONCLAVE_VERSION; }

}  // namespace conclave
