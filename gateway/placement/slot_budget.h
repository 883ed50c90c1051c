// How much of the room of expert servers is used: as many copies of each expert as are asked for
// and a share to spare for those that are hot, spread evenly, and no more, however much room there
// is.
#pragma once

#include <cstdint>
#include <span>

namespace conclave {

// The lowest number of slots a server, at most its own, that makes `budget` slots of all together;
// the highest of `slots` where they are fewer.
int64_t slot_level(std::span<const int64_t> slots, int64_t budget);

}  // namespace conclave
