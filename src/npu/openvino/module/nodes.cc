#include "npu/openvino/module/nodes.h"

#include <openvino/op/constant.hpp>
#include <openvino/op/reshape.hpp>

namespace npumoe::openvino {

using ov::op::v0::Constant;

Value Integers(const std::vector<int64_t>& values) {
  return Constant::create(ov::element::i64, ov::Shape{values.size()}, values)->output(0);
}

Value Integer(int64_t value) {
  return Constant::create(ov::element::i64, ov::Shape{}, {value})->output(0);
}

Value Number(float value, ov::element::Type type) {
  return Constant::create(type, ov::Shape{}, {value})->output(0);
}

Value Reshaped(const Value& value, const ov::Shape& shape) {
  return Node<ov::op::v1::Reshape>(value, Integers({shape.begin(), shape.end()}), false);
}

Value NamedConstant(const std::string& name, ov::element::Type type, const ov::Shape& shape,
                    const void* bytes, const std::shared_ptr<void>& owner) {
  const auto constant = std::make_shared<Constant>(type, shape, bytes, owner);
  constant->set_friendly_name(name);
  return constant->output(0);
}

}  // namespace npumoe::openvino
