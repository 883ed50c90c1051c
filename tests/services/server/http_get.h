// GET of a path, with nothing but sockets; the whole answer with its head, or empty.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "services/server/address.h"

namespace conclave {

inline std::string http_get(const std::string& address, const std::string& path) {
  const auto place = parse_host_port(address);
  if (!place.ok()) return "";
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(place->port));
  if (inet_pton(AF_INET, place->host.c_str(), &to.sin_addr) != 1) return "";
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) {
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    char buffer[4096];
    ssize_t count = write(fd, request.data(), request.size());
    while (count > 0 && (count = read(fd, buffer, sizeof buffer)) > 0) {
      answer.append(buffer, static_cast<size_t>(count));
    }
  }
  close(fd);
  return answer;
}

}  // namespace conclave
