#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/check.h"
#include "kernels/attention/attention.h"

namespace npumoe {
namespace {

double Dot(const float* a, const float* b, int size) {
  double sum = 0;
  for (int i = 0; i < size; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

// One query of one head over the keys that it sees.
void AttendReference(const AttentionArgs& args, int64_t token, int head,
                     std::vector<double>& scores) {
  const int64_t first = args.FirstKey(token);
  const int64_t end = args.EndKey(token);
  const int64_t kv_head = head / args.GroupSize();
  const float* query = args.queries.Row(token) + int64_t{head} * args.head_dim;
  const double sink = args.sinks.empty() ? -std::numeric_limits<double>::infinity()
                                         : double{args.sinks[static_cast<size_t>(head)]};
  scores.clear();
  for (int64_t s = first; s < end; ++s) {
    const float* key = args.keys.Row(s) + kv_head * args.head_dim;
    scores.push_back(args.scale * Dot(query, key, args.head_dim));
  }
  const double max = std::max(sink, *std::max_element(scores.begin(), scores.end()));
  double sum = std::exp(sink - max);
  for (double& score : scores) sum += score = std::exp(score - max);
  const int64_t size = args.ValueDim();
  for (int64_t i = 0; i < size; ++i) {
    double value = 0;
    for (int64_t s = first; s < end; ++s) {
      value +=
          scores[static_cast<size_t>(s - first)] * double{args.values.Row(s)[kv_head * size + i]};
    }
    args.out.Row(token)[head * size + i] = static_cast<float>(value / sum);
  }
}

}  // namespace

void AttentionReference(const AttentionArgs& args) {
  NPUMOE_CHECK(args.num_kv_heads > 0 && args.num_heads % args.num_kv_heads == 0);
  std::vector<double> scores;
  for (int64_t t = 0; t < args.queries.rows; ++t) {
    for (int head = 0; head < args.num_heads; ++head) AttendReference(args, t, head, scores);
  }
}

}  // namespace npumoe
