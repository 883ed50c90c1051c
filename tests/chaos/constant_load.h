// Clients that ask one request after another until they are told to stop, and keep of every stream
// when its ids came and whether it was what it should be. Some read on, some stall in the middle,
// some leave.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "tests/chaos/request_mix.h"

namespace conclave {

using ChaosClock = std::chrono::steady_clock;

enum class Manner { kReads, kStalls, kLeaves };
const char* manner_name(Manner manner);

struct StreamRecord {
  size_t request_idx = 0;
  Manner manner = Manner::kReads;
  bool is_long = false;
  ChaosClock::time_point begin;
  ChaosClock::time_point end;
  std::vector<ChaosClock::time_point> ids;  // one per id
  Judged judged;
};

class ConstantLoad {
 public:
  struct Options {
    std::string address;
    int32_t clients = 8;
    uint64_t seed = 1;
    absl::Duration patience = absl::Minutes(5);  // of a client with one request
    // How often lines of clients were reset, so far: whose request that ended is as one that left.
    std::function<int64_t()> num_resets = [] { return int64_t{0}; };
  };

  // Starts. `requests` outlive this.
  ConstantLoad(const Options& options, const std::vector<KnownRequest>* requests);
  ~ConstantLoad();

  ConstantLoad(const ConstantLoad&) = delete;
  ConstantLoad& operator=(const ConstantLoad&) = delete;

  // Until every client that reads on has heard an id more, or an end, than when this was called:
  // what a fault held up goes on. False when that took longer.
  bool wait_until_all_go_on(absl::Duration patience);

  // Lets every client finish what it has asked, and gives the records of all in the order of their
  // ends.
  std::vector<StreamRecord> stop();

 private:
  struct Client {
    std::atomic<int64_t> num_heard{0};  // ids and ends
    std::atomic<bool> pauses{false};    // of its own will
    int64_t num_resets = 0;             // when it began the request before
    std::thread thread;
  };

  void run_client(int32_t idx);
  StreamRecord run_one(v1::Inference::Stub* stub, std::mt19937_64* random, Client* client);

  const Options options_;
  const std::vector<KnownRequest>* const requests_;
  std::atomic<bool> is_over_{false};
  std::mutex mutex_;
  std::vector<StreamRecord> records_;
  std::deque<Client> clients_;
};

}  // namespace conclave
