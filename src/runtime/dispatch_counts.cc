#include "runtime/dispatch_counts.h"

namespace npumoe {

void Accumulate(const DispatchCounts& counts, DispatchCounts& total) {
  total.launches += counts.launches;
  total.capacity_rows += counts.capacity_rows;
  total.filled_rows += counts.filled_rows;
  total.spilled_rows += counts.spilled_rows;
  total.dropped_rows += counts.dropped_rows;
  total.cpu_rows += counts.cpu_rows;
}

}  // namespace npumoe
