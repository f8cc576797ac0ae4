// BpeModel: one piece of text to ids, by merging the pair of best rank until none is left.
//
// Linear in the number of pieces and in the length of one (but for rare sorting: merge_queue.h), so
// a megabyte of one letter is no attack. Immutable; the workspace belongs to the caller.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/merge_queue.h"
#include "model/tokenizer/merge_table.h"
#include "model/tokenizer/symbol_table.h"
#include "model/tokenizer/tokenizer_spec.h"
#include "model/tokenizer/word_borders.h"

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
  // A long piece while it is merged: a linked list over its symbols.
  struct Link {
    int32_t id;
    int32_t previous;   // -1: first
    int32_t next;       // -1: last
    bool gone = false;  // merged into its left neighbour
  };
  std::vector<CachedPiece> cache_;
  std::vector<int32_t> symbols_;
  std::vector<Merge> short_merges_;
  std::vector<Link> links_;
  MergeQueue queue_;
};

class BpeModel {
 public:
  // `is_control[id]`: tokens that text never becomes, whatever merges say. Fails for a merge of an
  // unknown token or into one.
  static Result<BpeModel> Build(const BpeSpec& spec, const std::vector<bool>& is_control,
                                const std::string& name);

  // Appends the ids of `piece` (not empty). Fails for what the vocabulary has no token for.
  Status Encode(std::string_view piece, BpeWorkspace* workspace, std::vector<int32_t>* ids) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  BpeModel(SymbolTable symbols, WordBorders borders, size_t merge_count)
      : symbols_(std::move(symbols)), borders_(std::move(borders)), merges_(merge_count) {}
  void AddWholePieces(const BpeSpec& spec, const std::vector<bool>& is_control);
  bool AppendWhole(std::string_view piece, std::vector<int32_t>* ids) const;
  Status EncodeWord(std::string_view word, BpeWorkspace* workspace,
                    std::vector<int32_t>* ids) const;
  Status EncodeCached(std::string_view word, BpeWorkspace* workspace,
                      std::vector<int32_t>* ids) const;
  Status MergeWord(std::string_view word, BpeWorkspace* workspace, std::vector<int32_t>* ids) const;
  void MergeShort(BpeWorkspace* workspace, std::vector<int32_t>* ids) const;
  void MergeLong(BpeWorkspace* workspace, std::vector<int32_t>* ids) const;
  void PushCandidate(int32_t position, BpeWorkspace* workspace) const;
  static void FillLinks(BpeWorkspace* workspace);
  static bool Apply(const MergeCandidate& merge, BpeWorkspace* workspace);

  SymbolTable symbols_;
  WordBorders borders_;
  MergeTable merges_;
  // Whole pieces that are tokens; filled only when merges are ignored for them.
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> whole_pieces_;
};

}  // namespace npumoe
