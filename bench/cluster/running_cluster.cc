#include "bench/cluster/running_cluster.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace conclave {
namespace {

// CMake names the folder of the programs.
constexpr char kBinDir[] = CONCLAVE_BIN_DIR;

std::string help_of(const std::string& program) {
  const std::string command = absl::StrCat(kBinDir, "/", program, " --help");
  std::FILE* const pipe = popen(command.c_str(), "r");
  CHECK(pipe != nullptr);
  std::string text;
  std::array<char, 4096> part{};
  while (const size_t got = std::fread(part.data(), 1, part.size(), pipe)) {
    text.append(part.data(), got);
  }
  pclose(pipe);
  return text;
}

// Processes of before there was a choice have gRPC alone and no flag.
absl::StatusOr<std::vector<std::string>> transport_flags(const std::string& program,
                                                         const std::string& transport) {
  std::vector<std::string> flags;
  if (absl::StrContains(help_of(program), "--transport ")) {
    flags.push_back(absl::StrCat("--transport=", transport));
  } else if (transport != "grpc" && program == "attention_node") {
    return absl::InvalidArgumentError(
        absl::StrCat(program, " has no --transport, so rows cannot travel over ", transport));
  }
  return flags;
}

void append(const std::vector<std::string>& more, std::vector<std::string>* flags) {
  flags->insert(flags->end(), more.begin(), more.end());
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalCluster>> start_cluster(const ClusterForm& form) {
  const std::vector<std::string> common = {"--log-level=error", "--metrics-listen=off",
                                           absl::StrCat("--threads=", form.threads)};
  LocalCluster::Options options{.bin_dir = kBinDir,
                                .model = form.model,
                                .routing = form.routing,
                                .gateway_flags = common,
                                .node_flags = common,
                                .expert_flags = common};
  const absl::StatusOr<std::vector<std::string>> of_node =
      transport_flags("attention_node", form.transport);
  if (!of_node.ok()) return of_node.status();
  append(*of_node, &options.node_flags);
  const absl::StatusOr<std::vector<std::string>> of_gateway =
      transport_flags("gateway", form.transport);
  if (!of_gateway.ok()) return of_gateway.status();
  append(*of_gateway, &options.gateway_flags);
  append(form.node_flags, &options.node_flags);
  append(form.all_flags, &options.node_flags);
  append(form.all_flags, &options.expert_flags);
  return LocalCluster::start(std::move(options));
}

double cpu_seconds(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  const std::vector<std::string> words{std::istream_iterator<std::string>(fields), {}};
  if (words.size() < 13) return 0;
  return (std::stod(words[11]) + std::stod(words[12])) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double cpu_seconds(const LocalCluster& cluster, ClusterRole role) {
  double seconds = 0;
  for (const LocalCluster::Process& process : cluster.processes()) {
    if (process.role == role) seconds += cpu_seconds(process.child->pid());
  }
  return seconds;
}

}  // namespace conclave
