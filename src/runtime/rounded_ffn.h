// RoundedFfn: an expert's matrices as a program of the plan holds them, so that a program is held
// against its own weights and what remains is the device's error.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "kernels/expert/expert.h"
#include "model/weights.h"
#include "plan/plan.h"

namespace npumoe {

class RoundedFfn {
 public:
  // Of a weight format other than fp16, whose rounding is that of every program.
  static Result<RoundedFfn> Of(const Plan& plan, const LayerPlan& layer, int expert,
                               const std::vector<FfnWeights>& experts);

  // Puts gate, up and down in the place of the model's; they lie here.
  void ReplaceIn(SwiGluWeights& weights) const;

 private:
  struct Matrix {
    Shape shape;
    std::vector<uint16_t> fp16;
  };
  static TensorView View(const Matrix& matrix);
  Matrix gate_, up_, down_;
};

}  // namespace npumoe
