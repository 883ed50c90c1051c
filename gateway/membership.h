// Who is in the cluster, and what that makes of it: the control role's whole state. All of it is
// soft: servers tell it again when they come back, and a new Membership adopts what it is told.
//
// A ServerId stands for a server's name for the life of this object: the same name gets the same
// number again, and no other name ever does. The placement's version rises with every change of the
// view. Draining expert servers stay in the view, for they serve until they go. The view names what
// servers hold, less what was withdrawn because they are to release it.
//
// Profiles (contract C1): a server whose weights are not the cluster's never joins. One whose
// numeric profile disagrees with that of a member it could stand in for (an expert server that
// holds one of its experts, or is to hold what control says; an attention node for another) joins
// only with `allow_mixed`. Others may disagree; exact() then says so.
//
// One thread. A heartbeat costs what it carries; a change of members costs S * L * E.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/ids.h"
#include "gateway/pick_window.h"
#include "gateway/server_facts.h"
#include "model/config/model_config.h"
#include "model/weights/expert_set.h"
#include "router/cluster_view.h"

namespace conclave {

// Which pairs of layer and expert somebody holds.
struct Coverage {
  int64_t num_covered = 0;
  int64_t num_total = 0;
  ExpertSet missing;

  bool complete() const { return num_covered == num_total; }
};

struct MemberStatus {
  ServerId server{};
  const ServerFacts* facts = nullptr;  // until the next change of the membership
  Heartbeat last;                      // the latest, or all zero before the first
  absl::Duration silence;
};

class Membership {
 public:
  struct Options {
    std::string weights;  // fingerprint_of() the checkpoint that is served
    bool allow_mixed = false;
    absl::Duration silence_limit = absl::Seconds(3);
    absl::Duration pick_window = absl::Seconds(10);  // that layer_imbalance() looks back, at most
    int64_t first_version = 1;  // of the placement; a restarted control goes on from its clock
    int32_t max_servers = 4096;
    int32_t max_names = 65536;  // ever, also of servers that are gone
  };

  // `clock` outlives this.
  Membership(const ModelConfig& config, const Clock* clock, Options options);

  // INVALID_ARGUMENT for what cannot be true, ALREADY_EXISTS while a live server has the name or
  // the address (one process under two names would count as two replicas; one that was started
  // again under another name waits until the line of the one before is gone),
  // FAILED_PRECONDITION for weights or a profile as said above, RESOURCE_EXHAUSTED over the limits.
  // Nothing changes then.
  absl::StatusOr<ServerId> join(ServerFacts facts);

  // FAILED_PRECONDITION for other weights than the cluster's; join() asks it too. Before a hello's
  // experts are read: those of another model make no sense, in words that do not say why.
  absl::Status check_weights(const std::string& id, const std::string& weights) const;

  // NOT_FOUND for one that is no member (any more): it is to join again. INVALID_ARGUMENT for
  // numbers that cannot be, which leave everything as it was. An attention node that has seen a
  // later placement than ours raises our version over it, up to kMaxAdoptedVersion.
  absl::Status heartbeat(ServerId server, Heartbeat beat);

  // No effect for one that is no member.
  void leave(ServerId server);

  // From now on the view does not say that the server holds any of `experts`, whatever it holds.
  // No effect for one that is no member.
  void withdraw(ServerId server, ExpertSet experts);

  // There is a router in this process (--routing gateway), and it goes by this version from now on.
  // What attention nodes say does not tell that: they go by none.
  void router_uses(int64_t version);

  // Every attention node, and the router of this process if there is one, uses this version of the
  // placement or a later one. The highest there is when there is neither.
  int64_t acknowledged() const;

  // Takes out who was silent for too long, in ascending order. Its line is to be closed: under the
  // same number another process may join at once.
  //
  // To be called once a second or more often. Where it was not, for more than that and half a
  // silence_limit, it is we who were away, with heartbeats perhaps waiting to be read: everybody is
  // given the time that we missed.
  std::vector<ServerId> expire();

  const ClusterView& placement() const { return view_; }
  const Coverage& coverage() const { return coverage_; }
  bool ever_covered() const { return ever_covered_; }  // latched
  bool exact() const { return exact_; }                // the profiles of any two members agree

  // Rises with all that others may have to act on: who is there, who drains, what is held, ordered
  // or in the view, and what acknowledged() says. Heartbeats that only tell load leave it alone.
  int64_t num_changes() const { return num_changes_; }

  // A draining expert server may go when other servers that do not drain hold everything it holds
  // and every attention node uses a placement that says so, or when there is no attention node. A
  // draining attention node may go when it says that it has no requests.
  bool may_leave(ServerId server) const;

  std::vector<NodeInfo> nodes() const;        // attention nodes, ascending
  std::vector<MemberStatus> members() const;  // all, ascending

  // [L] max over mean of the recent picks of the expert servers that hold experts of the layer; 0:
  // no picks.
  std::vector<double> layer_imbalance() const;

 private:
  struct Member {
    ServerFacts facts;
    Heartbeat last;
    absl::Time heard;
    PickWindow picks;
    ExpertSet withdrawn;  // of what it holds
    // The first version in which others hold all it holds, while it drains.
    std::optional<int64_t> replaced_at;

    bool is_node() const { return facts.role == ServerRole::kAttentionNode; }
  };

  absl::Status check_free(const ServerFacts& facts) const;
  absl::Status check_profile(const ServerFacts& facts) const;
  bool take_holding(const Holding& holding, Member* member);
  absl::StatusOr<ServerId> number_of(const std::string& id);
  void erase(std::map<ServerId, Member>::iterator member);
  void change_view();
  void update_coverage();
  void update_replaced();
  void update_exact();
  void roll_picks();
  void forgive_own_absence();

  const Options options_;
  const ExpertSet all_;  // what the model has
  const Clock* const clock_;

  std::unordered_map<std::string, ServerId> numbers_;  // every name ever
  std::map<ServerId, Member> members_;
  ClusterView view_;
  std::optional<int64_t> router_version_;
  Coverage coverage_;
  bool ever_covered_ = false;
  bool exact_ = true;
  int64_t num_changes_ = 0;
  absl::Time last_roll_;
  absl::Time last_expire_;
};

}  // namespace conclave
