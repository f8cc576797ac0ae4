// npumoe verify --graph: every rule of the validator over every function of a package, and the
// rules themselves. Nothing is executed.
#pragma once

#include <string>

#include "base/status.h"

namespace npumoe::cli {

struct GraphCheck {
  std::string package;  // a .mlpackage
  std::string chip;     // a profile's name or path
  bool json = false;
};

// Prints a table a function: each rule with its verdict (ok, warning, refused), what was found,
// why and what to do. kUnsupported when a function is refused.
Status VerifyGraph(const GraphCheck& check);

// Prints all rules, and for which of the known chips they hold.
Status ListValidatorRules(bool json);

}  // namespace npumoe::cli
