// BpeModel: one piece of text to ids, by merging the pair of best rank until none is left.
//
// Works on bytes. Linear in the number of pieces and O(n log n) in the length of one piece, so a
// megabyte of one letter is no attack. Immutable; the workspace belongs to the caller.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/merge_table.h"
#include "model/tokenizer/tokenizer_json.h"

namespace npumoe {

// Buffers that Encode keeps between pieces, and the ids of short pieces that it has seen.
class BpeWorkspace {
 public:
  BpeWorkspace() : cache_(kCacheEntries) {}

 private:
  friend class BpeModel;
  // Chosen: 4,096 entries of 32 bytes stay in a core's second-level cache, and most words of
  // prose have at most 14 bytes.
  static constexpr size_t kCacheEntries = 4096;
  static constexpr size_t kCachedBytes = 14;
  struct CachedPiece {
    uint8_t bytes = 0;  // 0: empty
    uint8_t count = 0;
    std::array<char, kCachedBytes> text;
    std::array<int32_t, 4> ids;
  };
  // A piece while it is merged: a linked list over its bytes.
  struct Symbol {
    int32_t id;
    int32_t previous;   // -1: first
    int32_t next;       // -1: last
    bool gone = false;  // merged into its left neighbour
  };
  struct Candidate {
    uint32_t rank;
    int32_t position;  // of the left symbol
    int32_t left, right, merged;
  };

  std::vector<CachedPiece> cache_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
  std::vector<int32_t> short_ids_;
  std::vector<Merge> short_merges_;
};

class BpeModel {
 public:
  // Fails for a merge of an unknown token or into one, and for an unknown-token rule that could
  // apply.
  static Result<BpeModel> Build(const BpeSpec& spec, const std::string& name);

  // Appends the ids of `piece` (not empty). Fails when the vocabulary lacks one of its bytes.
  Status Encode(std::string_view piece, BpeWorkspace* workspace, std::vector<int32_t>* ids) const;

 private:
  explicit BpeModel(size_t merge_count) : merges_(merge_count) {}
  Status CheckBytes(std::string_view piece) const;
  void EncodeCached(std::string_view piece, BpeWorkspace* workspace,
                    std::vector<int32_t>* ids) const;
  void MergeShort(std::string_view piece, BpeWorkspace* workspace, std::vector<int32_t>* ids) const;
  void MergeLong(std::string_view piece, BpeWorkspace* workspace, std::vector<int32_t>* ids) const;
  void FillSymbols(std::string_view piece, BpeWorkspace* workspace) const;
  void PushCandidate(int32_t position, BpeWorkspace* workspace) const;
  static bool Apply(const BpeWorkspace::Candidate& merge, BpeWorkspace* workspace);

  std::string name_;
  std::array<int32_t, 256> byte_ids_;  // -1: the vocabulary lacks the byte
  bool has_all_bytes_ = false;
  MergeTable merges_;
  // Whole pieces that are tokens; filled only when merges are ignored for them.
  std::unordered_map<std::string, int32_t> whole_pieces_;
};

}  // namespace npumoe
