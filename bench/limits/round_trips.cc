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
#include <cstddef>
#include <cstring>
#include <memory>
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

// Another process that sends back what it reads, until it is killed.
class TcpPeer {
 public:
  explicit TcpPeer(int64_t num_bytes) {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    CHECK(bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0);
    CHECK(listen(listener, 1) == 0);
    CHECK(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    child_ = fork();
    CHECK(child_ >= 0);
    if (child_ == 0) echo(listener, num_bytes);
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    no_delay(fd_);
    close(listener);
  }
  ~TcpPeer() {
    close(fd_);
    end_child(child_);
  }

  void send(const std::vector<char>& bytes) const { CHECK(write_all(fd_, bytes)); }
  void receive(std::vector<char>* bytes) const { CHECK(read_all(fd_, bytes)); }

 private:
  [[noreturn]] static void echo(int listener, int64_t num_bytes) {
    const int fd = accept(listener, nullptr, nullptr);
    no_delay(fd);
    std::vector<char> bytes(static_cast<size_t>(num_bytes));
    while (read_all(fd, &bytes) && write_all(fd, bytes)) {
    }
    _exit(0);
  }

  int fd_ = -1;
  pid_t child_ = -1;
};

// --- shared memory

// A ball that two processes throw, each counting on, and what lies beside it.
struct Court {
  alignas(64) std::atomic<uint32_t> there{0};
  alignas(64) std::atomic<uint32_t> back{0};
  alignas(64) std::byte baggage[1];  // there, then back; as many bytes as are sent each way
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

// Another process that sends the bytes back, having taken them out and put them in again.
class ShmPeer {
 public:
  ShmPeer(size_t num_bytes, bool may_spin) : num_bytes_(num_bytes), wait_(may_spin) {
    void* const memory =
        mmap(nullptr, mapped_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    court_ = new (memory) Court;
    child_ = fork();
    CHECK(child_ >= 0);
    if (child_ == 0) echo();
  }
  ~ShmPeer() {
    end_child(child_);
    munmap(court_, mapped_bytes());
  }

  void send(const std::vector<char>& bytes) {
    std::memcpy(there(), bytes.data(), num_bytes_);
    throw_ball(&court_->there, ++count_);
  }
  void receive(std::vector<char>* bytes) {
    catch_ball(&court_->back, count_, &wait_);
    std::memcpy(bytes->data(), back(), num_bytes_);
  }

 private:
  size_t mapped_bytes() const { return sizeof(Court) + 2 * num_bytes_; }
  std::byte* there() const { return court_->baggage; }
  std::byte* back() const { return court_->baggage + num_bytes_; }

  [[noreturn]] void echo() {
    std::vector<char> bytes(num_bytes_);
    for (uint32_t i = 1;; ++i) {
      catch_ball(&court_->there, i, &wait_);
      std::memcpy(bytes.data(), there(), num_bytes_);
      std::memcpy(back(), bytes.data(), num_bytes_);
      throw_ball(&court_->back, i);
    }
  }

  const size_t num_bytes_;
  SpinWait wait_;
  Court* court_ = nullptr;
  uint32_t count_ = 0;
  pid_t child_ = -1;
};

// To all of them, then back from all of them.
template <typename Peer>
Spread measure_peers(int64_t num_bytes, int32_t num_runs,
                     const std::vector<std::unique_ptr<Peer>>& peers) {
  std::vector<char> bytes(static_cast<size_t>(num_bytes), 'x');
  return measure_trips(num_runs, [&] {
    for (const auto& peer : peers) peer->send(bytes);
    for (const auto& peer : peers) peer->receive(&bytes);
  });
}

Spread measure_shared(const TripShape& shape, bool may_spin, int32_t num_runs) {
  std::vector<std::unique_ptr<ShmPeer>> peers;
  for (int32_t i = 0; i < shape.num_peers; ++i) {
    peers.push_back(std::make_unique<ShmPeer>(static_cast<size_t>(shape.num_bytes), may_spin));
  }
  return measure_peers(shape.num_bytes, num_runs, peers);
}

}  // namespace

Spread measure_tcp_round_trip(const TripShape& shape, int32_t num_runs) {
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (int32_t i = 0; i < shape.num_peers; ++i) {
    peers.push_back(std::make_unique<TcpPeer>(shape.num_bytes));
  }
  return measure_peers(shape.num_bytes, num_runs, peers);
}

Spread measure_shm_round_trip(const TripShape& shape, int32_t num_runs) {
  return measure_shared(shape, false, num_runs);
}

void report_round_trips(const Report& report) {
  constexpr int64_t kRow = 7168 * 2;  // DeepSeek-V3's in bf16
  constexpr TripShape kSmall{.num_bytes = 64};
  report.add({"limit", "TCP round trip of 64 B", "s", measure_tcp_round_trip(kSmall)});
  report.add({"limit", "TCP round trip of 14,336 B", "s", measure_tcp_round_trip({kRow})});
  report.add({"limit", "shared memory round trip of 64 B", "s", measure_shm_round_trip(kSmall)});
  report.add(
      {"limit", "shared memory round trip of 14,336 B", "s", measure_shm_round_trip({kRow})});
  report.add({"limit", "shared memory round trip of 64 B, spinning", "s",
              measure_shared(kSmall, true, kDefaultRuns)});
}

}  // namespace conclave
