#include "kernels/targets.h"

#include <hwy/highway.h>
#include <hwy/targets.h>

namespace npumoe {

const char* KernelTargetName() {
  // Better targets are lower bits.
  const int64_t usable = static_cast<int64_t>(hwy::SupportedTargets()) & HWY_TARGETS;
  return hwy::TargetName(usable & -usable);
}

}  // namespace npumoe
