// What a model family is, as data: the `model_type` it answers to, how its config.json is read,
// and tables from the names of its tensors to their roles (tensor_roles.h knows shapes). Loading,
// checking and synthetic models work from those tables alone.
//
// A new family is one small file beside this one and a line in families.cc;
// docs/adding-a-family.md goes through one.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "model/config.h"
#include "model/tensor_roles.h"

namespace npumoe {

// "{layer}" and "{expert}" in a name stand for the indices.
struct TensorName {
  std::string_view name;
  TensorRole role;
};

// A tensor that holds the experts of a layer together, [experts, ...]: all of one role, or of two
// (gate and up) side by side.
enum class FusedRows : uint8_t {
  kOneRole,
  kHalves,       // [experts, 2n, ...]: the rows of the first role, then those of the second
  kAlternating,  // [experts, 2n, ...]: even rows are the first role's, odd ones the second's
};
enum class FusedEncoding : uint8_t {
  kPlain,
  kTransposed,  // [experts, in, out]
  kMxfp4,       // NAME_blocks U8 [experts, out, in / 32, 16] and NAME_scales U8 [..., in / 32]
};
struct FusedTensor {
  std::string_view name;
  std::array<TensorRole, 2> roles;  // both the same for kOneRole
  FusedRows rows = FusedRows::kOneRole;
  FusedEncoding encoding = FusedEncoding::kPlain;
};

// How published folders of a family keep a layer's experts, and how we write them.
enum class PublishedExperts : uint8_t { kEachForItself, kFused };

struct ModelFamily {
  std::string_view model_type;
  Result<ModelConfig> (*read_config)(const JsonObject& config_json);
  // A role's first name is the one that we write; further ones are spellings that files may use.
  std::span<const std::span<const TensorName>> tensors;
  // Where a file has no tensor of an expert's own.
  std::span<const FusedTensor> fused;
  // Ends of names of tensors that files may hold and nobody reads (constants that old
  // checkpoints stored).
  std::span<const std::string_view> ignored_suffixes;
  PublishedExperts published_experts = PublishedExperts::kEachForItself;
};

std::span<const ModelFamily* const> AllFamilies();
// Null: unknown.
const ModelFamily* FindFamily(std::string_view model_type);

}  // namespace npumoe
