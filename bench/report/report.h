// What every benchmark prints: JSON lines on stdout, which bench/run.py keeps and shows as a table.
//
//   {"bench": NAME, "machine": {...}}                       once, first
//   {"bench": NAME, "case": ..., "metric": ..., "unit": ...,
//    "median": x, "lowest": x, "highest": x, "runs": n}
//
// A number of this machine means little alone: the lines whose case is "limit" say what the machine
// did at most in the same run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace conclave {

struct Spread {
  double median = 0;
  double lowest = 0;
  double highest = 0;
  int num_runs = 0;
};

// REQUIRES: at least one run
Spread spread_of(std::vector<double> runs);

// REQUIRES: as many of the one as of the other, round by round
Spread spread_of_ratios(const std::vector<double>& above, const std::vector<double>& below);

struct Figure {
  std::string name;  // of the case
  std::string metric;
  std::string unit;
  Spread spread;
};

class Report {
 public:
  // Prints the machine.
  explicit Report(std::string_view bench);

  void add(const Figure& figure) const;

 private:
  const std::string bench_;
};

}  // namespace conclave
