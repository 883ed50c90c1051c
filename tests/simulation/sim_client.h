// A client with one request: submits it until it is accepted, holds every word of the answer
// against what one engine says with nothing that fails, and may cancel it or go away.
//
// What it takes for wrong: an id, a logprob or an end that is not the reference's; anything twice,
// out of order or after the end; a failure that is neither its own doing nor its deadline's.
#pragma once

#include <optional>
#include <string>

#include "gateway/request.h"
#include "tests/simulation/sim_frontend.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_random.h"

namespace conclave {

enum class ClientWish : uint8_t { kWholeAnswer, kCancel, kGoAway };

// What one client asks, as a scenario says it; times are from the start of the world.
struct ClientPlan {
  absl::Duration at;
  GatewayRequest request;                  // without a deadline
  std::optional<absl::Duration> patience;  // makes the deadline
  ClientWish wish = ClientWish::kWholeAnswer;
  absl::Duration wish_after;  // its acceptance
};

class SimClient final : private ClientSink {
 public:
  // All outlive the client.
  SimClient(const SimWorldParts& parts, SimFrontend* frontend, const ClientPlan* plan,
            const SimAnswer* expected);

  // From now on it tries to be accepted.
  void begin();

  // It heard the end of its answer, or wants no more of it.
  bool ended() const { return state_ == State::kEnded; }
  bool finished() const { return finished_; }
  // To its whole answer, or to a limit of its own.
  bool may_fail() const {
    return plan_->patience.has_value() || plan_->wish != ClientWish::kWholeAnswer;
  }
  const std::string& id() const { return plan_->request.id; }

  // In words, for who reports it as stuck.
  std::string state() const;

 private:
  enum class State : uint8_t { kOutside, kUnderWay, kEnded };

  void submit();
  void make_wish();
  void check(bool holds, const std::string& what);

  void on_started(const GatewayRequest& request) override;
  void on_delta(AnswerDelta delta) override;
  void on_finished(const AnswerFinish& finish) override;
  void on_failed(const absl::Status& status) override;
  void on_broken();

  const SimWorldParts parts_;
  SimFrontend* const frontend_;
  const ClientPlan* const plan_;
  const SimAnswer* const expected_;
  SimRandom random_;

  State state_ = State::kOutside;
  bool finished_ = false;
  bool cancelled_ = false;
  int32_t num_tries_ = 0;
  absl::Time deadline_ = absl::InfiniteFuture();
  size_t num_ids_ = 0;  // heard, of this try
  bool heard_prompt_ = false;
};

}  // namespace conclave
