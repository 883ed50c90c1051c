// The sub-commands of `conclave`. Each adds its flags to the command line and is run with them;
// what it prints and what it promises is in docs/cli.md.
#pragma once

#include <functional>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace conclave {

// A sub-command and what it does once the flags are parsed.
struct Command {
  CLI::App* app = nullptr;
  std::function<absl::Status()> run;
};

Command add_generate(CLI::App* parent);
Command add_logits(CLI::App* parent);
Command add_eval(CLI::App* parent);
Command add_convert(CLI::App* parent);
Command add_inspect(CLI::App* parent);
Command add_tokenize(CLI::App* parent);
Command add_up(CLI::App* parent);
Command add_status(CLI::App* parent);

}  // namespace conclave
