#include <arpa/inet.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <new>
#include <string>
#include <vector>

#include "bench/limits/limits.h"
#include "common/check.h"
#include "common/spin_wait.h"

namespace conclave {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int32_t kTripsPerRun = 400;
constexpr int32_t kWarmup = 50;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The medians of `num_runs` runs of trips.
template <typename Trip>
Spread measure_trips(int32_t num_runs, Trip trip) {
  for (int32_t i = 0; i < kWarmup; ++i) trip();
  std::vector<double> medians;
  for (int32_t run = 0; run < num_runs; ++run) {
    std::vector<double> seconds;
    for (int32_t i = 0; i < kTripsPerRun; ++i) {
      const Clock::time_point begin = Clock::now();
      trip();
      seconds.push_back(seconds_since(begin));
    }
    medians.push_back(spread_of(std::move(seconds)).median);
  }
  return spread_of(std::move(medians));
}

void end_child(pid_t child) {
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

// --- TCP
// ------------------------------------------------------------------------------------------

bool read_all(int fd, std::vector<char>* bytes) {
  size_t done = 0;
  while (done < bytes->size()) {
    const ssize_t got = read(fd, bytes->data() + done, bytes->size() - done);
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return true;
}

bool write_all(int fd, const std::vector<char>& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = write(fd, bytes.data() + done, bytes.size() - done);
    if (put <= 0) return false;
    done += static_cast<size_t>(put);
  }
  return true;
}

void no_delay(int fd) {
  const int on = 1;
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
}

// Sends back what it reads, until it is killed.
[[noreturn]] void echo(int listener, int64_t num_bytes) {
  const int fd = accept(listener, nullptr, nullptr);
  no_delay(fd);
  std::vector<char> bytes(static_cast<size_t>(num_bytes));
  while (read_all(fd, &bytes) && write_all(fd, bytes)) {
  }
  _exit(0);
}

// --- shared memory
// --------------------------------------------------------------------------------

// A ball that two processes throw, each counting on.
struct Court {
  alignas(64) std::atomic<uint32_t> there{0};
  alignas(64) std::atomic<uint32_t> back{0};
};

void futex(std::atomic<uint32_t>* word, int operation, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), operation, value, nullptr, nullptr, 0);
}

void throw_ball(std::atomic<uint32_t>* word, uint32_t value) {
  word->store(value, std::memory_order_release);
  futex(word, FUTEX_WAKE, 1);
}

void catch_ball(std::atomic<uint32_t>* word, uint32_t value, SpinWait* wait) {
  uint32_t seen = 0;
  wait->wait([&] { return (seen = word->load(std::memory_order_acquire)) == value; },
             [&] { futex(word, FUTEX_WAIT, seen); });
}

Spread measure_shared(bool may_spin, int32_t num_runs) {
  void* const memory =
      mmap(nullptr, sizeof(Court), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  auto* const court = new (memory) Court;
  const pid_t child = fork();
  CHECK(child >= 0);
  SpinWait wait(may_spin);
  if (child == 0) {
    for (uint32_t i = 1;; ++i) {
      catch_ball(&court->there, i, &wait);
      throw_ball(&court->back, i);
    }
  }
  uint32_t count = 0;
  const Spread spread = measure_trips(num_runs, [&] {
    throw_ball(&court->there, ++count);
    catch_ball(&court->back, count, &wait);
  });
  end_child(child);
  munmap(memory, sizeof(Court));
  return spread;
}

}  // namespace

Spread measure_tcp_round_trip(int64_t num_bytes, int32_t num_runs) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  CHECK(bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0);
  CHECK(listen(listener, 1) == 0);
  CHECK(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) echo(listener, num_bytes);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  no_delay(fd);
  std::vector<char> bytes(static_cast<size_t>(num_bytes), 'x');
  const Spread spread = measure_trips(num_runs, [&] {
    CHECK(write_all(fd, bytes));
    CHECK(read_all(fd, &bytes));
  });
  close(fd);
  close(listener);
  end_child(child);
  return spread;
}

Spread measure_futex_round_trip(int32_t num_runs) { return measure_shared(false, num_runs); }
Spread measure_spin_round_trip(int32_t num_runs) { return measure_shared(true, num_runs); }

void report_round_trips(const Report& report) {
  constexpr int64_t kRow = 7168 * 2;  // DeepSeek-V3's in bf16
  report.add({"limit", "TCP round trip of 64 B", "s", measure_tcp_round_trip(64)});
  report.add({"limit", "TCP round trip of 14,336 B", "s", measure_tcp_round_trip(kRow)});
  report.add({"limit", "futex round trip", "s", measure_futex_round_trip()});
  report.add({"limit", "shared memory round trip, spinning", "s", measure_spin_round_trip()});
}

}  // namespace conclave
