// Whatever servers say to control, in any order: a membership takes it or says what is wrong in one
// line, and stays sound. Whatever control says to frontends: they take it or say what is wrong, and
// can choose among the nodes that they took.
//
// The input is a list of events, each a byte of what it is, two of its length, and its message:
// kind % 4 is 0 for a Hello, 1 for a Heartbeat of server kind / 4, 2 for a PlacementUpdate as a
// node reads it or, where kind / 4 is odd, a NodesUpdate as a frontend does, 3 for kind / 4 tenths
// of a second that pass.
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/check.h"
#include "gateway/membership.h"
#include "gateway/node_pool.h"
#include "services/gateway/control_status.h"
#include "services/server/control_codec.h"
#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

ModelConfig small_config() {
  ModelConfig config;
  config.num_layers = 3;
  config.moe.gate.num_experts = 24;
  config.moe.first_moe_layer = 1;
  return config;
}

void check_one_line(const absl::Status& status) {
  CHECK(status.message().find('\n') == absl::string_view::npos);
}

void check_view(const ClusterView& view, const ModelConfig& config) {
  v1::PlacementUpdate message;
  to_proto(view, &message);
  const auto again = from_proto(message, config);
  CHECK(again.ok());
  CHECK(again->version == view.version);
  CHECK(again->servers.size() == view.servers.size());
  for (size_t i = 0; i < view.servers.size(); ++i) {
    CHECK(again->servers[i].server == view.servers[i].server);
    CHECK(again->servers[i].id == view.servers[i].id);
    CHECK(again->servers[i].address == view.servers[i].address);
    CHECK(again->servers[i].held.minus(view.servers[i].held).empty());
    CHECK(view.servers[i].held.minus(again->servers[i].held).empty());
  }
}

class World {
 public:
  void event(uint8_t kind, std::span<const uint8_t> bytes) {
    const int size = static_cast<int>(bytes.size());
    if (kind % 4 == 0) {
      v1::Hello hello;
      if (hello.ParseFromArray(bytes.data(), size)) join(hello);
    } else if (kind % 4 == 1) {
      v1::Heartbeat beat;
      if (!beat.ParseFromArray(bytes.data(), size)) return;
      const auto heartbeat = from_proto(beat, config_);
      check_one_line(heartbeat.status());
      if (heartbeat.ok()) check_one_line(membership_.heartbeat(ServerId{kind / 4}, *heartbeat));
    } else if (kind % 8 == 6) {
      v1::NodesUpdate update;
      if (update.ParseFromArray(bytes.data(), size)) take_nodes(update);
    } else if (kind % 4 == 2) {
      v1::PlacementUpdate update;
      if (!update.ParseFromArray(bytes.data(), size)) return;
      const auto view = from_proto(update, config_);
      check_one_line(view.status());
      if (view.ok()) check_view(*view, config_);
    } else {
      clock_.advance(kind / 4 * absl::Milliseconds(100));
      membership_.expire();
    }
  }

  void check() {
    const Coverage& coverage = membership_.coverage();
    CHECK(coverage.num_covered + coverage.missing.size() == coverage.num_total);
    CHECK(membership_.layer_imbalance().size() == static_cast<size_t>(config_.num_layers));
    CHECK(membership_.placement().version >= version_);
    version_ = membership_.placement().version;
    check_view(membership_.placement(), config_);
    size_t num_servers = 0;
    for (const MemberStatus& member : membership_.members()) {
      CHECK(check_facts(*member.facts, ExpertSet::all(config_)).ok());
      CHECK(check_heartbeat(member.last, config_.num_layers).ok());
      if (membership_.may_leave(member.server)) CHECK(member.last.draining);
      num_servers += member.facts->role == ServerRole::kExpertServer ? 1 : 0;
    }
    CHECK(membership_.placement().servers.size() == num_servers);
    CHECK(membership_.nodes().size() + num_servers == membership_.members().size());
  }

 private:
  void join(const v1::Hello& hello) {
    absl::StatusOr<ServerFacts> facts = from_proto(hello, config_);
    check_one_line(facts.status());
    if (facts.ok()) check_one_line(membership_.join(*std::move(facts)).status());
  }

  void take_nodes(const v1::NodesUpdate& update) {
    const auto nodes = nodes_from(update);
    check_one_line(nodes.status());
    if (!nodes.ok()) return;
    pool_.update(*nodes);
    check_one_line(pool_.choose(/*num_tokens=*/100).status());
  }

  const ModelConfig config_ = small_config();
  ManualClock clock_;
  Membership membership_{config_, &clock_, {.weights = "w", .allow_mixed = true}};
  NodePool pool_{&clock_, {}};
  int64_t version_ = 0;
};

}  // namespace
}  // namespace conclave

// Protobuf writes a line to stderr for every string that is not UTF-8.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> rest(data, size);
  conclave::World world;
  while (rest.size() >= 3) {
    const uint8_t kind = rest[0];
    const size_t length = std::min<size_t>(rest[1] + 256u * rest[2], rest.size() - 3);
    world.event(kind, rest.subspan(3, length));
    world.check();
    rest = rest.subspan(3 + length);
  }
  return 0;
}
