// Least squares without negative unknowns, for small dense systems: each row of the matrix is one
// observation whose value is 1 (so that errors are relative to it).
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace npumoe {

struct NonnegativeFit {
  std::vector<double> values;  // [unknowns], >= 0
  // Standard error of each unknown; 0 where it was held at 0.
  std::vector<double> errors;
};

// `rows` [observations][unknowns]. `names` [unknowns] for messages. Observations far off the others
// count less (Huber's weights). kInvalidInput: there are fewer observations than unknowns, or an
// unknown is a combination of others in all of them.
Result<NonnegativeFit> FitNonnegative(const std::vector<std::vector<double>>& rows,
                                      const std::vector<std::string>& names);

}  // namespace npumoe
