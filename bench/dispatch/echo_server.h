// Expert servers without experts, as processes of their own: every pick is answered with the row it
// was for, by the doors and in the threads that a real one has. What is measured through them is
// the way and nothing else.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "router/cluster_view.h"

namespace conclave {

// The flag that makes this program such a server; its value is for nobody else.
inline constexpr char kEchoFlag[] = "--echo-server";

// Serves until the process is killed; tells where it is found on stdout.
int run_echo_server();

// Starts this program `count` times over; they die with it.
class EchoServers {
 public:
  explicit EchoServers(int32_t count);
  ~EchoServers();

  const ClusterView& view() const { return view_; }

  // User and system time of all of them so far, in seconds.
  double cpu_seconds() const;

 private:
  std::vector<pid_t> pids_;
  ClusterView view_;
};

}  // namespace conclave
