// ArchitectureKeys: a GGUF's metadata as one architecture names it: "block_count" is read from the
// key "qwen3moe.block_count". Numbers that a model's config keeps in more digits than the usual
// 32-bit key holds stand a second time under "npumoe.exact.<key>"; both must agree.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/gguf/architecture.h"
#include "model/gguf/gguf_metadata.h"
#include "model/gguf/metadata_builder.h"

namespace npumoe {

class ArchitectureKeys {
 public:
  ArchitectureKeys(const GgufMetadata& metadata, const GgufArchitecture& architecture)
      : metadata_(metadata), architecture_(architecture) {}

  const GgufMetadata& metadata() const { return metadata_; }
  const GgufArchitecture& architecture() const { return architecture_; }
  std::string Key(std::string_view suffix) const;
  bool Has(std::string_view suffix) const { return metadata_.Has(Key(suffix)); }

  // An integer in [1, max]. A list with one number per layer is accepted where all are equal.
  Result<int> Dimension(std::string_view suffix, int max) const;
  // The same from 0; absent: `fallback`.
  Result<int> Dimension(std::string_view suffix, int max, int fallback) const;
  Result<double> Number(std::string_view suffix, double min, double max, double fallback) const;
  Result<float> Float(std::string_view suffix, double min, double max, float fallback) const;
  Result<std::string> String(std::string_view suffix, std::string fallback) const;
  Status KeyError(std::string_view suffix, const std::string& what) const {
    return metadata_.KeyError(Key(suffix), what);
  }

 private:
  Result<int64_t> UniformInt(std::string_view suffix, int64_t min, int64_t max) const;

  const GgufMetadata& metadata_;
  const GgufArchitecture& architecture_;
};

// The other direction.
class ArchitectureKeyWriter {
 public:
  ArchitectureKeyWriter(GgufMetadataBuilder& builder, const GgufArchitecture& architecture)
      : builder_(builder), architecture_(architecture) {}

  GgufMetadataBuilder& builder() { return builder_; }
  const GgufArchitecture& architecture() const { return architecture_; }
  std::string Key(std::string_view suffix) const;
  void Add(std::string_view suffix, int value) {
    builder_.AddU32(Key(suffix), static_cast<uint32_t>(value));
  }
  void Add(std::string_view suffix, float value) { builder_.AddF32(Key(suffix), value); }
  void Add(std::string_view suffix, bool value) { builder_.AddBool(Key(suffix), value); }
  void Add(std::string_view suffix, std::string_view value) {
    builder_.AddString(Key(suffix), value);
  }
  // As 32 bits, and with all digits beside it where those lose some.
  void Add(std::string_view suffix, double value);

 private:
  GgufMetadataBuilder& builder_;
  const GgufArchitecture& architecture_;
};

}  // namespace npumoe
