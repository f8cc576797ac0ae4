#include "model/tokenizer/merge_queue.h"

#include <algorithm>
#include <functional>

namespace npumoe {
namespace {

bool IsBehind(const MergeCandidate& a, const MergeCandidate& b) { return a.position > b.position; }

}  // namespace

void MergeQueue::Clear() {
  buckets_.clear();
  ranks_.clear();
}

void MergeQueue::Push(const MergeCandidate& candidate) {
  const auto [entry, is_new] = buckets_.try_emplace(candidate.rank);
  Bucket& bucket = entry->second;
  auto& candidates = bucket.candidates;
  if (is_new) {
    ranks_.push_back(candidate.rank);
    std::ranges::push_heap(ranks_, std::greater<>());
  }
  if (bucket.next > 0 && !bucket.is_heap) {
    candidates.erase(candidates.begin(),
                     candidates.begin() + static_cast<std::ptrdiff_t>(bucket.next));
    bucket.next = 0;
    bucket.is_heap = true;
    std::ranges::make_heap(candidates, IsBehind);
  }
  bucket.is_sorted =
      bucket.is_sorted && (candidates.empty() || candidates.back().position <= candidate.position);
  candidates.push_back(candidate);
  if (bucket.is_heap) std::ranges::push_heap(candidates, IsBehind);
}

MergeCandidate MergeQueue::Pop() {
  const uint32_t rank = ranks_.front();
  Bucket& bucket = buckets_.find(rank)->second;
  const MergeCandidate candidate = PopFrom(&bucket);
  if (bucket.next == bucket.candidates.size()) {
    buckets_.erase(rank);
    std::ranges::pop_heap(ranks_, std::greater<>());
    ranks_.pop_back();
  }
  return candidate;
}

MergeCandidate MergeQueue::PopFrom(Bucket* bucket) {
  auto& candidates = bucket->candidates;
  if (bucket->is_heap) {
    std::ranges::pop_heap(candidates, IsBehind);
    const MergeCandidate candidate = candidates.back();
    candidates.pop_back();
    return candidate;
  }
  if (!bucket->is_sorted) {
    std::ranges::stable_sort(candidates, {}, &MergeCandidate::position);
    bucket->is_sorted = true;
  }
  return candidates[bucket->next++];
}

}  // namespace npumoe
