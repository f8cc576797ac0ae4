// For tests only: GGUF bytes by hand, right ones and wrong ones.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "model/gguf/gguf_file.h"
#include "model/gguf/metadata_builder.h"

namespace npumoe {

struct TestTensor {
  std::string name;
  std::vector<uint64_t> axes;  // as the file has them, the row first
  uint32_t type = 0;           // F32
  uint64_t offset = 0;
};

class TestBytes {
 public:
  template <class T>
  TestBytes& Add(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    text_.append(raw, sizeof(T));
    return *this;
  }
  TestBytes& AddString(const std::string& text) {
    Add<uint64_t>(text.size());
    text_ += text;
    return *this;
  }
  TestBytes& AddRaw(const std::string& bytes) {
    text_ += bytes;
    return *this;
  }
  TestBytes& AddHeader(uint32_t version, uint64_t tensors, uint64_t keys) {
    return Add(kGgufMagic).Add(version).Add(tensors).Add(keys);
  }
  TestBytes& AddTensor(const TestTensor& tensor) {
    AddString(tensor.name).Add(static_cast<uint32_t>(tensor.axes.size()));
    for (const uint64_t axis : tensor.axes) Add(axis);
    return Add(tensor.type).Add(tensor.offset);
  }
  // Up to the next multiple of 32, then `bytes` of data.
  TestBytes& AddData(size_t bytes) {
    text_.resize((text_.size() + 31) / 32 * 32, '\0');
    text_.append(bytes, '\x01');
    return *this;
  }

  const std::string& text() const { return text_; }
  // As a reader sees them: exactly these bytes and no terminator behind them.
  Result<GgufFile> Parse() const {
    auto copy = std::make_shared<std::vector<std::byte>>(text_.size());
    if (!text_.empty()) std::memcpy(copy->data(), text_.data(), text_.size());
    return GgufFile::Parse(*copy, "test.gguf", copy);
  }

 private:
  std::string text_;
};

// One file with these tensors and so much data behind them.
inline TestBytes FileWith(const std::vector<TestTensor>& tensors, size_t data_bytes,
                          const GgufMetadataBuilder& metadata = {}) {
  TestBytes bytes;
  bytes.AddHeader(3, tensors.size(), metadata.count()).AddRaw(metadata.bytes());
  for (const TestTensor& tensor : tensors) bytes.AddTensor(tensor);
  if (data_bytes > 0) bytes.AddData(data_bytes);
  return bytes;
}

inline void ExpectSays(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\ndoes not say: " << part;
}

}  // namespace npumoe
