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

// One query of one head over its `context` keys.
void AttendReference(const AttentionArgs& args, int64_t token, int head,
                     std::vector<double>& scores) {
  const int d = args.head_dim;
  const int64_t context = args.position + token + 1;
  const int64_t q_begin = int64_t{head} * d;
  const int64_t kv_begin = int64_t{head / (args.num_heads / args.num_kv_heads)} * d;
  scores.assign(static_cast<size_t>(context), 0);
  double max = -std::numeric_limits<double>::infinity();
  for (int64_t s = 0; s < context; ++s) {
    double& score = scores[static_cast<size_t>(s)];
    score = args.scale * Dot(args.queries.Row(token) + q_begin, args.keys.Row(s) + kv_begin, d);
    max = std::max(max, score);
  }
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - max);
  for (int i = 0; i < d; ++i) {
    double value = 0;
    for (int64_t s = 0; s < context; ++s) {
      value += scores[static_cast<size_t>(s)] * double{args.values.Row(s)[kv_begin + i]};
    }
    args.out.Row(token)[q_begin + i] = static_cast<float>(value / sum);
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
