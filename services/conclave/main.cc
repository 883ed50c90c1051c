// `conclave`: parse the flags, run one sub-command, say in one line what went wrong.

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "services/conclave/commands.h"

namespace conclave {
namespace {

constexpr int kExitFailure = 1;  // the command ran and failed
constexpr int kExitUsage = 2;    // the flags make no sense

int run(int argc, char** argv) {
  CLI::App app{"Serves DeepSeek-family mixture-of-experts models."};
  app.name("conclave");
  app.require_subcommand(1);
  app.set_version_flag("--version", CONCLAVE_VERSION);
  const std::vector<Command> commands = {add_generate(&app), add_logits(&app), add_inspect(&app),
                                         add_tokenize(&app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::fprintf(stderr, "conclave: %s (see --help)\n", error.what());
    return kExitUsage;
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    const absl::Status status = command.run();
    if (status.ok()) return 0;
    std::fprintf(stderr, "conclave: %s: %s\n", absl::StatusCodeToString(status.code()).c_str(),
                 std::string(status.message()).c_str());
    return kExitFailure;
  }
  return kExitUsage;
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  try {
    return conclave::run(argc, argv);
  } catch (const std::exception& error) {  // memory that could not be had, in a library or in ours
    std::fprintf(stderr, "conclave: %s\n", error.what());
    return 1;
  }
}
