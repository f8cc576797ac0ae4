// The values that a constexpr operation stands for: what a device makes of a compressed weight.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/graph.h"

namespace npumoe {

class MaterialisedWeight {
 public:
  // `operation` is a constexpr operation of `graph`, which CheckGraph accepts. Stored parts that
  // are views are read where they lie and must outlive this; others are copied.
  static Result<MaterialisedWeight> Of(const Graph& graph, const Operation& operation);

  int64_t elements() const { return elements_; }
  // Elements [begin, begin + out.size()) in row-major order, before they are rounded to the
  // declared type: products of an integer below 2^9 and an fp16 scale are exact in fp32.
  void Read(int64_t begin, std::span<float> out) const;

 private:
  // How the index of a scale or table follows from a run of elements that share one: the run's
  // number is a position over `extents`; an axis adds position / block * stride.
  struct RunAxis {
    int64_t extent = 1;
    int64_t block = 1;
    int64_t stride = 0;
  };
  MaterialisedWeight() = default;
  Status ReadParts(const Graph& graph, const Operation& operation);
  void FindRuns(const Shape& whole, std::vector<int64_t> parts);
  int64_t PartOfRun(int64_t run) const;
  void ReadRun(int64_t begin, int64_t part, std::span<float> out) const;

  DType type_ = DType::kI8;  // of integers or indices
  const std::byte* integers_ = nullptr;
  std::vector<std::byte> own_integers_;
  std::vector<float> factors_;  // scales, or the entries of all tables
  std::vector<float> offsets_;  // empty: 0
  int64_t entries_ = 0;         // of a table; 0: scales
  int64_t elements_ = 0;
  int64_t run_ = 1;  // consecutive elements that share a scale or table
  std::vector<RunAxis> axes_;
};

// All values of an fp16 weight, or of the result of a constexpr operation, as a device computes
// with them: rounded to fp16, in row-major order. kNotFound for anything else.
Result<std::vector<uint16_t>> HalvesOf(const Graph& graph, const std::string& value);

// Bytes that the package holds for `value`: of a weight, or of the stored parts behind the result
// of a constexpr operation. 0 for anything else.
int64_t StoredBytes(const Graph& graph, const std::string& value);

}  // namespace npumoe
