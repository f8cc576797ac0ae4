// MergeQueue: the merges that could be made next in a long piece: best rank first, of equal ranks
// the leftmost.
//
// Merges of one rank wait in one bucket, in the order of their places, because BPE finds them from
// left to right. So a run of a million letters is walked through bucket by bucket, in linear time
// and in the order of memory, where a heap over all merges would not be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace npumoe {

struct MergeCandidate {
  uint32_t rank;
  int32_t position;             // of the left symbol
  int32_t left, right, merged;  // ids
};

class MergeQueue {
 public:
  void Clear();
  void Push(const MergeCandidate& candidate);
  bool IsEmpty() const { return ranks_.empty(); }
  // Not empty.
  MergeCandidate Pop();

 private:
  struct Bucket {
    std::vector<MergeCandidate> candidates;  // those before `next` are gone
    size_t next = 0;
    bool is_sorted = true;  // by position
    bool is_heap = false;   // since one came after others had gone
  };
  static MergeCandidate PopFrom(Bucket* bucket);

  std::unordered_map<uint32_t, Bucket> buckets_;  // of the ranks in ranks_
  std::vector<uint32_t> ranks_;                   // a heap, best first, each once
};

}  // namespace npumoe
