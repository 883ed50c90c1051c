// How loading looks on a terminal, and the limits a request has on a model that is about to be
// loaded, so that a bad request is refused before gigabytes are read.
#pragma once

#include <string>

#include "attention/request_check.h"
#include "services/local/local_model.h"

namespace conclave {

// Says on stderr what the model needs and how far loading is; one line that is rewritten on a
// terminal, and a line per part when it is loaded elsewhere.
// `doing` and `done` name what happens otherwise.
LocalModel::Listener loading_on_stderr(const std::string& doing = "loading",
                                       const std::string& done = "loaded");

RequestLimits limits_of(const ModelFolder& folder, const LocalModel::Options& options);

}  // namespace conclave
