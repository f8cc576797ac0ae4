// A module as another build would have made it: the right entry point, another stamp.
#include "npu/openvino/module_interface.h"

extern "C" __attribute__((visibility("default"))) const npumoe::openvino::Module*
npumoe_openvino_module() {
  static const npumoe::openvino::Module module = {"another-build", nullptr, nullptr, nullptr};
  return &module;
}
