// A request table with fakes around it, and the short words of its tests.
#pragma once

#include <gtest/gtest.h>

#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/request_table.h"
#include "tests/gateway/table_fakes.h"
#include "tests/model/tokenizer/tokenizer_test_data.h"
#include "tests/support/manual_clock.h"

namespace conclave {

class KeptTimes final : public TableObserver {
 public:
  void on_first_token(absl::Duration wait) override { waits.push_back(wait); }
  void on_next_tokens(absl::Duration gap, int32_t num_tokens) override {
    gaps.emplace_back(gap, num_tokens);
  }

  std::vector<absl::Duration> waits;
  std::vector<std::pair<absl::Duration, int32_t>> gaps;
};

class TableTest : public testing::Test {
 protected:
  static constexpr int32_t kVocab = 2048;

  static GatewayRequest ask(const std::string& id, int32_t max_tokens = 8) {
    GatewayRequest request{.id = id, .prompt = {5, 6, 7}};
    request.sampling.max_tokens = max_tokens;
    return request;
  }
  FakeSink* submit(GatewayRequest request) {
    sinks_.emplace_back();
    const absl::Status status = table_->submit(std::move(request), &sinks_.back());
    EXPECT_TRUE(status.ok()) << status;
    return &sinks_.back();
  }
  absl::Status refusal(GatewayRequest request) {
    FakeSink sink;
    const absl::Status status = table_->submit(std::move(request), &sink);
    EXPECT_FALSE(sink.started);
    return status;
  }
  void nodes(const std::vector<NodeInfo>& nodes) { table_->nodes_changed(nodes); }
  void say(const std::vector<int32_t>& ids) { say(link_.last, ids); }
  void say(RunHandle run, const std::vector<int32_t>& ids) { table_->on_tokens(run, {.ids = ids}); }
  void end(RunEnd how) {
    const RunHandle run = link_.last;
    link_.end(run);
    table_->on_run_finished(run, how);
  }
  void break_run(RunHandle run, const absl::Status& status = absl::UnavailableError("lost")) {
    link_.end(run);
    table_->on_run_failed(run, status);
  }
  const NodeRequest& asked() { return link_.runs.at(link_.last).request; }
  ServerId last_node() { return link_.runs.at(link_.last).node; }
  void advance(absl::Duration duration) {
    clock_.advance(duration);
    table_->tick();
  }

  const std::unique_ptr<Tokenizer> tokenizer_ = load_tokenizer(bard_dir());
  ManualClock clock_;
  FakeLink link_;
  KeptTimes times_;
  std::list<FakeSink> sinks_;
  const std::unique_ptr<RequestTable> table_ = std::make_unique<RequestTable>(
      RequestTable::Parts{
          .clock = &clock_, .link = &link_, .tokenizer = tokenizer_.get(), .observer = &times_},
      RequestTable::Options{.model = {.vocab_size = kVocab, .max_positions = 100},
                            .max_queued = 3});
};

}  // namespace conclave
