// Any bytes as a record of shared memory: an error, or a leg or an answer whose shape is right and
// that is the same after another way.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/check.h"
#include "router/shm/leg_record.h"

namespace conclave {
namespace {

void check_leg(const LegRecord& read) {
  const ArrivedLeg& leg = read.leg;
  if (!read.wrong.ok()) return;
  CHECK(leg.pick_begin.size() == static_cast<size_t>(leg.hidden.num_rows) + 1);
  const LegRequest request = leg.view(ServerId{0});
  std::vector<std::byte> record(leg_record_bytes(request));
  write_leg(read.sequence, request, record.data());
  const auto again = read_leg(record);
  CHECK(again.ok());
  CHECK(again->sequence == read.sequence);
  CHECK(again->leg.pick_begin == leg.pick_begin);
  CHECK(again->leg.pick_expert == leg.pick_expert);
  CHECK(again->leg.hidden == leg.hidden);
}

void check_reply(const LegSaid& said) {
  std::vector<std::byte> record(reply_record_bytes(said));
  write_reply(said, record.data());
  const auto again = read_reply(record);
  CHECK(again.ok());
  CHECK(again->status == said.status);
  CHECK(again->rows == said.rows);
}

}  // namespace
}  // namespace conclave

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto record = std::as_bytes(std::span(data, size));
  const auto leg = conclave::read_leg(record);
  if (leg.ok()) conclave::check_leg(*leg);
  const auto said = conclave::read_reply(record);
  if (said.ok()) conclave::check_reply(*said);
  return 0;
}
