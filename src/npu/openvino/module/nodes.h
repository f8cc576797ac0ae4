// Short forms for the nodes that lowerings make often.
#pragma once

#include <memory>
#include <openvino/core/node.hpp>
#include <string>
#include <vector>

namespace npumoe::openvino {

using Value = ov::Output<ov::Node>;

template <class Op, class... Arguments>
Value Node(Arguments&&... arguments) {
  return std::make_shared<Op>(std::forward<Arguments>(arguments)...)->output(0);
}

Value Integers(const std::vector<int64_t>& values);  // constant, rank 1
Value Integer(int64_t value);                        // constant, rank 0
Value Number(float value, ov::element::Type type);   // constant, rank 0
Value Reshaped(const Value& value, const ov::Shape& shape);
// Bytes that `owner` keeps alive, not copied.
Value NamedConstant(const std::string& name, ov::element::Type type, const ov::Shape& shape,
                    const void* bytes, const std::shared_ptr<void>& owner);

}  // namespace npumoe::openvino
