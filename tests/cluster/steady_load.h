// Requests that go on until they are told to stop, one after the other in each of some threads, all
// of them compared with what was said in peace.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/cluster/test_cluster.h"

namespace conclave {

class SteadyLoad {
 public:
  SteadyLoad(const std::string& address, int num_threads, int32_t num_tokens)
      : expected_(generate(address, request_of(num_tokens))) {
    EXPECT_TRUE(expected_.status.ok()) << expected_.status.error_message();
    for (int i = 0; i < num_threads; ++i) {
      threads_.emplace_back([this, address, num_tokens] {
        while (!is_over_) {
          const Generated result = generate(address, request_of(num_tokens));
          EXPECT_TRUE(result.status.ok()) << result.status.error_message();
          EXPECT_EQ(result.answer.ids, expected_.answer.ids);
          ++num_finished_;
        }
      });
    }
  }
  ~SteadyLoad() { stop(); }

  void stop() {
    is_over_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  int num_finished() const { return num_finished_; }

  // Until as many more have finished, each of which was under way when this was called or later.
  bool goes_on(int more) {
    const int before = num_finished_;
    return eventually(absl::Seconds(60), [&] { return num_finished_ >= before + more; });
  }

 private:
  const Generated expected_;
  std::atomic<bool> is_over_{false};
  std::atomic<int> num_finished_{0};
  std::vector<std::thread> threads_;
};

}  // namespace conclave
