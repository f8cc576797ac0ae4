#include "base/tensor_view.h"

#include <gtest/gtest.h>

#include <vector>

namespace npumoe {
namespace {

TEST(Shape, MultipliesItsAxes) {
  EXPECT_EQ(Shape({2, 3, 4}).elements(), 24);
  EXPECT_EQ(Shape({2, 0, 4}).elements(), 0);
  EXPECT_EQ(Shape().elements(), 1);
}

TEST(Shape, PrintsAsAList) {
  EXPECT_EQ(Shape({2, 64}).ToString(), "[2, 64]");
  EXPECT_EQ(Shape().ToString(), "[]");
}

TEST(Shape, EqualsOnlyTheSameAxesInTheSameOrder) {
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_NE(Shape({2, 3}), Shape({3, 2}));
  EXPECT_NE(Shape({2, 3}), Shape({2, 3, 1}));
}

TEST(TensorView, SlicesAlongTheFirstAxis) {
  const std::vector<float> values = {0, 1, 2, 3, 4, 5};
  const TensorView view{DType::kF32, Shape({3, 2}),
                        reinterpret_cast<const std::byte*>(values.data())};
  const TensorView slice = view.Slice(2);
  EXPECT_EQ(slice.shape, Shape({2}));
  EXPECT_EQ(slice.as<float>()[1], 5.0f);
  EXPECT_EQ(view.bytes(), 24u);
}

TEST(TensorViewDeathTest, RefusesASliceBeyondTheEnd) {
  const std::vector<float> values(6);
  const TensorView view{DType::kF32, Shape({3, 2}),
                        reinterpret_cast<const std::byte*>(values.data())};
  EXPECT_DEATH(static_cast<void>(view.Slice(3)), "check failed");
}

}  // namespace
}  // namespace npumoe
