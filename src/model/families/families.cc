#include "model/families/deepseek_v2.h"
#include "model/families/family.h"
#include "model/families/gpt_oss.h"
#include "model/families/granitemoe.h"
#include "model/families/mixtral.h"
#include "model/families/olmoe.h"
#include "model/families/phimoe.h"
#include "model/families/qwen2_moe.h"
#include "model/families/qwen3_moe.h"

namespace npumoe {

std::span<const ModelFamily* const> AllFamilies() {
  static constexpr const ModelFamily* kFamilies[] = {
      &kDeepseekV2, &kGptOss, &kGraniteMoe, &kMixtral, &kOlmoe, &kPhiMoe, &kQwen2Moe, &kQwen3Moe,
  };
  return kFamilies;
}

const ModelFamily* FindFamily(std::string_view model_type) {
  for (const ModelFamily* family : AllFamilies()) {
    if (family->model_type == model_type) return family;
  }
  return nullptr;
}

}  // namespace npumoe
