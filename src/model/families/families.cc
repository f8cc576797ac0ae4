#include "model/families/family.h"
#include "model/families/qwen3_moe.h"

namespace npumoe {

std::span<const ModelFamily* const> AllFamilies() {
  static constexpr const ModelFamily* kFamilies[] = {&kQwen3Moe};
  return kFamilies;
}

const ModelFamily* FindFamily(std::string_view model_type) {
  for (const ModelFamily* family : AllFamilies()) {
    if (family->model_type == model_type) return family;
  }
  return nullptr;
}

}  // namespace npumoe
