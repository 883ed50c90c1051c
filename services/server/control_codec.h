// Control's messages (proto/control.proto) and what they mean. Pure functions.
//
// from_proto() checks what the rest relies on: sets of experts that fit the model, enums that are
// known. Whether a server may say it is for gateway/server_facts.h and the membership.
#pragma once

#include "absl/status/statusor.h"
#include "gateway/server_facts.h"
#include "model/config/model_config.h"
#include "model/numeric_profile.h"
#include "model/weights/expert_set.h"
#include "proto/control.pb.h"
#include "router/cluster_view.h"

namespace conclave {

// INVALID_ARGUMENT for layers that do not ascend, that the model does not have or that are dense,
// and for ranges that are empty, overlap, touch or reach out of the model. An empty message is the
// empty set of the model's shape.
absl::StatusOr<ExpertSet> from_proto(const v1::ExpertSet& message, const ModelConfig& config);
void to_proto(const ExpertSet& set, v1::ExpertSet* message);

NumericProfile from_proto(const v1::NumericProfile& message);
void to_proto(const NumericProfile& profile, v1::NumericProfile* message);

// INVALID_ARGUMENT for an unknown role, and as for the set that is held.
absl::StatusOr<ServerFacts> from_proto(const v1::Hello& message, const ModelConfig& config);
void to_proto(const ServerFacts& facts, v1::Hello* message);

NodeLoad from_proto(const v1::NodeLoad& message);
void to_proto(const NodeLoad& load, v1::NodeLoad* message);
ExpertLoad from_proto(const v1::ExpertLoad& message);
void to_proto(const ExpertLoad& load, v1::ExpertLoad* message);
absl::StatusOr<Holding> from_proto(const v1::Holding& message, const ModelConfig& config);
void to_proto(const Holding& holding, v1::Holding* message);
absl::StatusOr<Heartbeat> from_proto(const v1::Heartbeat& message, const ModelConfig& config);
void to_proto(const Heartbeat& beat, v1::Heartbeat* message);

absl::StatusOr<ExpertOrder> from_proto(const v1::ExpertOrder& message, const ModelConfig& config);
void to_proto(const ExpertOrder& order, v1::ExpertOrder* message);

// INVALID_ARGUMENT for servers that do not ascend from 0 or have no address, and as for their sets.
absl::StatusOr<ClusterView> from_proto(const v1::PlacementUpdate& message,
                                       const ModelConfig& config);
void to_proto(const ClusterView& view, v1::PlacementUpdate* message);

}  // namespace conclave
