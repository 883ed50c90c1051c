// Who may join.

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "gateway/membership.h"
#include "gateway/names.h"
#include "model/numeric_profile.h"

namespace conclave {
namespace {

bool overlap(const ExpertSet& a, const ExpertSet& b) { return a.minus(b).size() < a.size(); }

// Whether each could do the other's work, so that their bits must be the same.
bool stand_in(const ServerFacts& a, const ServerFacts& b) {
  if (a.role != b.role) return false;
  return a.role == ServerRole::kAttentionNode || a.managed || b.managed || overlap(a.held, b.held);
}

}  // namespace

absl::StatusOr<ServerId> Membership::join(ServerFacts facts) {
  RETURN_IF_ERROR(check_facts(facts, all_));
  RETURN_IF_ERROR(check_free(facts));
  RETURN_IF_ERROR(check_profile(facts));
  if (members_.size() >= static_cast<size_t>(options_.max_servers)) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the cluster has %d servers, the most it takes", options_.max_servers));
  }
  ASSIGN_OR_RETURN(const ServerId server, number_of(facts.id));

  Member& member = members_[server];
  member.withdrawn = ExpertSet(all_.num_layers(), all_.num_experts());
  member.facts = std::move(facts);
  member.heard = clock_->now();
  ++num_changes_;
  update_exact();
  if (!member.is_node()) change_view();
  return server;
}

// One that is refused for it tries again, and who is in the way is silent soon if it lives no more.
absl::Status Membership::check_free(const ServerFacts& facts) const {
  for (const auto& [server, member] : members_) {
    if (member.facts.id == facts.id) {
      return absl::AlreadyExistsError(absl::StrCat("server_id ", in_quotes(facts.id),
                                                   " is in use by the live server at ",
                                                   member.facts.address));
    }
    if (member.facts.address == facts.address) {
      return absl::AlreadyExistsError(absl::StrCat("address ", in_quotes(facts.address),
                                                   " is in use by the live server ",
                                                   in_quotes(member.facts.id)));
    }
  }
  return absl::OkStatus();
}

absl::Status Membership::check_weights(const std::string& id, const std::string& weights) const {
  if (weights == options_.weights) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("server %s has the weights %s, this cluster serves %s", in_quotes(id),
                      in_quotes(weights), in_quotes(options_.weights)));
}

absl::Status Membership::check_profile(const ServerFacts& facts) const {
  RETURN_IF_ERROR(check_weights(facts.id, facts.profile.weights));
  if (options_.allow_mixed) return absl::OkStatus();
  for (const auto& [server, member] : members_) {
    const absl::Status same = agree(member.facts.profile, facts.profile);
    if (same.ok() || !stand_in(member.facts, facts)) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "server ", in_quotes(facts.id), " would stand in for ", in_quotes(member.facts.id),
        " with other bits (--allow-mixed permits it): ", same.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<ServerId> Membership::number_of(const std::string& id) {
  const auto known = numbers_.find(id);
  if (known != numbers_.end()) return known->second;
  if (numbers_.size() >= static_cast<size_t>(options_.max_names)) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "control has known %d server ids, the most it keeps numbers for", options_.max_names));
  }
  const ServerId server{static_cast<int32_t>(numbers_.size())};
  numbers_[id] = server;
  return server;
}

}  // namespace conclave
