// Which instruction set the kernels use on this machine.
#pragma once

namespace npumoe {

// Highway's name of the best target that is both compiled in and supported: "AVX3_DL", "AVX2".
const char* KernelTargetName();

}  // namespace npumoe
