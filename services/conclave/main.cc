// `conclave`: parse the flags, run one sub-command, say in one line what went wrong.

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "services/conclave/commands.h"
#include "services/conclave/message.h"

namespace conclave {
namespace {

constexpr int kExitFailure = 1;  // the command ran and failed
constexpr int kExitUsage = 2;    // the command line cannot be read

int fail(int exit_code, const std::string& message) {
  std::fprintf(stderr, "conclave: %s\n", one_line(message).c_str());
  return exit_code;
}

// --help and --version are errors to CLI11, and print on std::cout.
int finish_parse(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) {
    app.exit(error);
    if (std::cout.flush().good()) return 0;
    return fail(kExitFailure, "DATA_LOSS: stdout could not be written");
  }
  std::string message = error.what();
  if (app.get_subcommands().empty()) {
    const std::vector<std::string> unknown = app.remaining();
    message = unknown.empty() ? "a command is missing" : "there is no command " + unknown.front();
  }
  return fail(kExitUsage, message + " (see --help)");
}

int run(int argc, char** argv) {
  CLI::App app{"Serves DeepSeek-family mixture-of-experts models."};
  app.name("conclave");
  app.require_subcommand(1);
  app.set_version_flag("--version", CONCLAVE_VERSION);
  const std::vector<Command> commands = {add_generate(&app), add_logits(&app),  add_eval(&app),
                                         add_convert(&app),  add_inspect(&app), add_tokenize(&app),
                                         add_up(&app),       add_status(&app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return finish_parse(app, error);
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    const absl::Status status = command.run();
    if (status.ok()) return 0;
    return fail(kExitFailure,
                absl::StatusCodeToString(status.code()) + ": " + std::string(status.message()));
  }
  return kExitUsage;
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  try {
    return conclave::run(argc, argv);
  } catch (const std::exception& error) {  // memory that could not be had, in a library or in ours
    return conclave::fail(conclave::kExitFailure, error.what());
  }
}
