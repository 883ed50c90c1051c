// What is said on stderr. Names of files and their contents come from anywhere, so that what is
// said is made fit for a terminal and a log first.
#pragma once

#include <string>
#include <string_view>

namespace conclave {

// `text` on one line: control characters and bytes that are not UTF-8 become \xNN, and what is
// longer than a few screen lines is cut.
std::string one_line(std::string_view text);

}  // namespace conclave
