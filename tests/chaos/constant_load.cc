#include "tests/chaos/constant_load.h"

#include <grpcpp/channel.h>

#include <array>
#include <utility>

#include "absl/time/clock.h"
#include "common/check.h"

namespace conclave {
namespace {

Manner any_manner(std::mt19937_64* random) {
  const uint64_t draw = (*random)() % 10;
  return draw == 0 ? Manner::kStalls : draw == 1 ? Manner::kLeaves : Manner::kReads;
}

// Half of them long, so that a fault always meets some.
size_t any_request(const std::vector<KnownRequest>& requests, std::mt19937_64* random) {
  const bool wants_long = (*random)() % 2 == 0;
  for (;;) {
    const size_t idx = (*random)() % requests.size();
    if (requests[idx].is_long == wants_long) return idx;
  }
}

}  // namespace

const char* manner_name(Manner manner) {
  constexpr std::array<const char*, 3> kNames = {"reads", "stalls", "leaves"};
  return kNames[static_cast<size_t>(manner)];
}

ConstantLoad::ConstantLoad(const Options& options, const std::vector<KnownRequest>* requests)
    : options_(options), requests_(requests) {
  CHECK(options_.clients > 0);
  for (int32_t i = 0; i < options_.clients; ++i) clients_.emplace_back();
  for (int32_t i = 0; i < options_.clients; ++i) {
    clients_[static_cast<size_t>(i)].thread = std::thread([this, i] { run_client(i); });
  }
}

ConstantLoad::~ConstantLoad() { stop(); }

bool ConstantLoad::wait_until_all_go_on(absl::Duration patience) {
  constexpr absl::Duration kBetweenLooks = absl::Milliseconds(5);
  const absl::Time give_up = absl::Now() + patience;
  std::vector<int64_t> before;
  for (const Client& client : clients_) before.push_back(client.num_heard);
  for (size_t i = 0; i < clients_.size(); ++i) {
    while (clients_[i].num_heard == before[i] && !clients_[i].pauses) {
      if (absl::Now() > give_up) return false;
      absl::SleepFor(kBetweenLooks);
    }
  }
  return true;
}

std::vector<StreamRecord> ConstantLoad::stop() {
  is_over_ = true;
  for (Client& client : clients_) client.thread.join();
  clients_.clear();
  return std::move(records_);
}

void ConstantLoad::run_client(int32_t idx) {
  Client& client = clients_[static_cast<size_t>(idx)];
  std::mt19937_64 random(options_.seed * 1000 + static_cast<uint64_t>(idx));
  const auto stub = v1::Inference::NewStub(channel_to(options_.address));
  while (!is_over_) {
    StreamRecord record = run_one(stub.get(), &random, &client);
    ++client.num_heard;
    // An aborted request must not become a storm of them.
    if (record.judged.verdict == Verdict::kAborted) absl::SleepFor(absl::Milliseconds(100));
    const std::lock_guard lock(mutex_);
    records_.push_back(std::move(record));
  }
}

StreamRecord ConstantLoad::run_one(v1::Inference::Stub* stub, std::mt19937_64* random,
                                   Client* client) {
  StreamRecord record{.request_idx = any_request(*requests_, random), .manner = any_manner(random)};
  const KnownRequest& known = (*requests_)[record.request_idx];
  record.is_long = known.is_long;
  const size_t num_before = 1 + (*random)() % (known.expected.answer.ids.size() + 1);
  const auto pause = absl::Milliseconds(200 + static_cast<int64_t>((*random)() % 1500));

  const int64_t resets_before = std::exchange(client->num_resets, options_.num_resets());
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(absl::ToChronoTime(absl::Now() + options_.patience));
  record.begin = ChaosClock::now();
  Generated said;
  bool has_left = false;
  bool has_stalled = false;
  const auto reader = stub->Generate(&context, known.message);
  for (v1::GenerateResponse response; reader->Read(&response);) {
    add_response(response, &said);
    record.ids.resize(said.answer.ids.size(), ChaosClock::now());
    ++client->num_heard;
    if (record.manner == Manner::kReads || said.answer.ids.size() < num_before) continue;
    if (record.manner == Manner::kStalls && !std::exchange(has_stalled, true)) {
      client->pauses = true;
      absl::SleepFor(pause);
      client->pauses = false;
    }
    if (record.manner == Manner::kLeaves && !std::exchange(has_left, true)) context.TryCancel();
  }
  end_with(reader->Finish(), &said);
  record.end = ChaosClock::now();
  const bool was_cut = said.status.error_code() == grpc::StatusCode::UNAVAILABLE &&
                       options_.num_resets() != resets_before;
  const bool is_part =
      was_cut || (has_left && said.status.error_code() == grpc::StatusCode::CANCELLED);
  if (was_cut) record.manner = Manner::kLeaves;
  record.judged = is_part ? judge_beginning(said, known.expected) : judge(said, known.expected);
  return record;
}

}  // namespace conclave
