// What an attention program has to answer, of the reference kernels: products, norms, rotation and
// softmax one after another in fp32, with the weights of a stored program.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/attention_program.h"
#include "kernels/matrix.h"
#include "runtime/conformance/conformance_case.h"

namespace npumoe {

inline constexpr double kRopeTheta = 10000;

// A kind of attention program.
struct AttentionTest {
  const char* name = "";
  AttentionProgramShape shape;
  std::vector<int64_t> histories;  // of its functions
  bool has_biases = false;
  bool has_sinks = false;
  int64_t window = 0;  // keys that a query looks back to; 0: all
};

// The first slots of a history are empty, as those of a cache that is shorter.
int64_t EmptySlots(const AttentionExtent& extent);
// Of the chunk in the context.
int64_t FirstPosition(const AttentionExtent& extent);
// Whether the chunk's token `query` looks at slot `key` of history and chunk.
bool Sees(const AttentionTest& test, const AttentionExtent& extent, int64_t query, int64_t key);

// "cos" and "sin" of the chunk's positions, where something turns, and the mask.
void AddRotaryTables(int64_t rotary_dim, const AttentionExtent& extent, NamedValues& inputs);
std::vector<float> MaskOf(const AttentionTest& test, const AttentionExtent& extent);

std::vector<float> SinksOf(const AttentionProgramShape& shape);

// What goes in, a token a row.
struct AttentionRows {
  std::vector<float> x, keys, values;
  ConstMatrix X(const AttentionProgramShape& shape, const AttentionExtent& extent) const;
  ConstMatrix Keys(const AttentionProgramShape& shape, const AttentionExtent& extent) const;
  ConstMatrix Values(const AttentionProgramShape& shape, const AttentionExtent& extent) const;
};
AttentionRows RowsOf(const AttentionTest& test, const AttentionExtent& extent);

// y, new_keys and new_values.
Result<NamedValues> AttendReference(const AttentionTest& test, const AttentionExtent& extent,
                                    const Graph& stored);

}  // namespace npumoe
