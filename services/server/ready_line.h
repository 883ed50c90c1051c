// How a server tells the process that started it how far it is: JSON lines on the descriptor that
// --ready-fd names.
//
//   {"progress": "experts 0/2", "done": 1048576, "total": 9437184}
//   {"ready": {"role": "expert_server", "pid": 4711, "address": "127.0.0.1:40001",
//              "metrics": "127.0.0.1:40002"}}
//
// `ready` comes once, when the gRPC port listens; the descriptor is closed then. A reader that has
// gone away is no error. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace conclave {

class ReadyLine {
 public:
  struct Ready {
    std::string role;
    std::string address;
    std::string metrics;  // empty: off
  };

  // Owns `fd`; -1: nobody listens. The descriptor is not passed on to processes started here.
  explicit ReadyLine(int fd);
  ~ReadyLine();

  ReadyLine(const ReadyLine&) = delete;
  ReadyLine& operator=(const ReadyLine&) = delete;

  void progress(std::string_view part, uint64_t done, uint64_t total);
  void ready(const Ready& ready);

 private:
  void write_line(std::string line);
  void close_fd();

  int fd_;
};

}  // namespace conclave
