#include "tests/chaos/own_network.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

// A machine's own rules are none of ours: without a network of our own nothing is touched.
bool has_own_network = false;

absl::Status failed(const char* what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::Status raise_loopback() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed("socket");
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const int result = ioctl(fd, SIOCSIFFLAGS, &request);
  close(fd);
  return result == 0 ? absl::OkStatus() : failed("the loopback interface does not come up");
}

absl::Status iptables(const std::string& args) {
  if (!has_own_network) return absl::FailedPreconditionError("no network of its own");
  if (std::system(absl::StrCat("iptables -w ", args, " >/dev/null 2>&1").c_str()) == 0) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("iptables ", args, " failed"));
}

}  // namespace

absl::Status enter_own_network() {
  if (unshare(CLONE_NEWNET) != 0) return failed("no network of its own");
  has_own_network = true;
  RETURN_IF_ERROR(raise_loopback());
  RETURN_IF_ERROR(begin_dropping({.share = 0.5, .port = 1}));
  return stop_dropping();
}

absl::Status begin_dropping(const PacketDrop& drop) {
  const std::string chance = absl::StrCat(" -m statistic --mode random --probability ", drop.share);
  std::vector<std::string> which = {""};
  if (drop.port != 0) {
    which = {absl::StrCat(" --dport ", drop.port), absl::StrCat(" --sport ", drop.port)};
  }
  for (const std::string& port : which) {
    RETURN_IF_ERROR(iptables(absl::StrCat("-A INPUT -i lo -p tcp", port, chance, " -j DROP")));
  }
  return absl::OkStatus();
}

absl::Status stop_dropping() { return iptables("-F INPUT"); }

}  // namespace conclave
