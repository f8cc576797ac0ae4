#include "model/tokenizer/bpe.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

#include "model/tokenizer/byte_level.h"

namespace npumoe {
namespace {

// Pieces up to this length are merged by scanning all pairs, which is quick for a word; longer
// ones by a heap, which does not become quadratic. Chosen: longer than nearly every word.
constexpr size_t kShortPieceBytes = 32;

constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();

using IdsBySpelling = std::unordered_map<std::string_view, int32_t>;

Result<int32_t> FindMergeToken(const IdsBySpelling& ids, const std::string& token, size_t rank,
                               const std::string& name) {
  const auto found = ids.find(token);
  if (found == ids.end()) {
    return InvalidInput(name + ": field 'model.merges'[" + std::to_string(rank) + "]: '" + token +
                        "' is not a token of model.vocab");
  }
  return found->second;
}

Status FillMerges(const BpeSpec& spec, const IdsBySpelling& ids, const std::string& name,
                  MergeTable* merges) {
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    NPUMOE_ASSIGN_OR_RETURN(const int32_t left_id, FindMergeToken(ids, left, rank, name));
    NPUMOE_ASSIGN_OR_RETURN(const int32_t right_id, FindMergeToken(ids, right, rank, name));
    NPUMOE_ASSIGN_OR_RETURN(const int32_t merged, FindMergeToken(ids, left + right, rank, name));
    merges->Put(left_id, right_id, {static_cast<uint32_t>(rank), merged});
  }
  return OkStatus();
}

size_t HashOf(std::string_view piece) { return std::hash<std::string_view>{}(piece); }

}  // namespace

Result<BpeModel> BpeModel::Build(const BpeSpec& spec, const std::string& name) {
  BpeModel model(spec.merges.size());
  model.name_ = name;
  model.byte_ids_.fill(-1);
  IdsBySpelling ids;
  ids.reserve(spec.vocabulary.size());
  for (const auto& [spelling, id] : spec.vocabulary) {
    ids.emplace(spelling, id);
    const std::optional<std::string> bytes = BytesOfSpelling(spelling);
    if (!bytes) continue;
    if (bytes->size() == 1) model.byte_ids_[static_cast<uint8_t>((*bytes)[0])] = id;
    if (spec.ignore_merges) model.whole_pieces_.emplace(*bytes, id);
  }
  model.has_all_bytes_ = std::ranges::count(model.byte_ids_, -1) == 0;
  if (!model.has_all_bytes_ && !spec.fallback_field.empty()) {
    return Unsupported(name + ": field 'model." + spec.fallback_field +
                       "' is set and not every byte is a token of model.vocab; only byte-level "
                       "vocabularies with all 256 bytes are supported");
  }
  NPUMOE_RETURN_IF_ERROR(FillMerges(spec, ids, name, &model.merges_));
  return model;
}

Status BpeModel::CheckBytes(std::string_view piece) const {
  for (const char c : piece) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte_ids_[byte] >= 0) continue;
    return InvalidInput(name_ + ": the vocabulary has no token for byte " + std::to_string(byte) +
                        ", so the text cannot be encoded; leave that character out");
  }
  return OkStatus();
}

Status BpeModel::Encode(std::string_view piece, BpeWorkspace* workspace,
                        std::vector<int32_t>* ids) const {
  if (!whole_pieces_.empty()) {
    const auto whole = whole_pieces_.find(std::string(piece));
    if (whole != whole_pieces_.end()) {
      ids->push_back(whole->second);
      return OkStatus();
    }
  }
  if (!has_all_bytes_) NPUMOE_RETURN_IF_ERROR(CheckBytes(piece));
  if (piece.size() <= BpeWorkspace::kCachedBytes) {
    EncodeCached(piece, workspace, ids);
  } else if (piece.size() <= kShortPieceBytes) {
    MergeShort(piece, workspace, ids);
  } else {
    MergeLong(piece, workspace, ids);
  }
  return OkStatus();
}

void BpeModel::EncodeCached(std::string_view piece, BpeWorkspace* workspace,
                            std::vector<int32_t>* ids) const {
  auto& cached = workspace->cache_[HashOf(piece) % BpeWorkspace::kCacheEntries];
  if (std::string_view(cached.text.data(), cached.bytes) == piece) {
    ids->insert(ids->end(), cached.ids.begin(), cached.ids.begin() + cached.count);
    return;
  }
  const size_t begin = ids->size();
  MergeShort(piece, workspace, ids);
  const size_t count = ids->size() - begin;
  if (count > cached.ids.size()) return;
  cached.bytes = static_cast<uint8_t>(piece.size());
  cached.count = static_cast<uint8_t>(count);
  std::memcpy(cached.text.data(), piece.data(), piece.size());
  std::copy_n(ids->begin() + static_cast<std::ptrdiff_t>(begin), count, cached.ids.begin());
}

void BpeModel::MergeShort(std::string_view piece, BpeWorkspace* workspace,
                          std::vector<int32_t>* ids) const {
  std::vector<int32_t>& symbols = workspace->short_ids_;
  std::vector<Merge>& merges = workspace->short_merges_;  // merges[i]: of symbols i and i + 1
  symbols.clear();
  merges.clear();
  for (const char c : piece) symbols.push_back(byte_ids_[static_cast<uint8_t>(c)]);
  const auto merge_at = [&](size_t i) {
    const Merge* merge = merges_.Find(symbols[i], symbols[i + 1]);
    return merge ? *merge : Merge{kNoRank, 0};
  };
  for (size_t i = 0; i + 1 < symbols.size(); ++i) merges.push_back(merge_at(i));
  while (!merges.empty()) {
    const auto best = std::ranges::min_element(merges, {}, &Merge::rank);  // leftmost of equals
    if (best->rank == kNoRank) break;
    const size_t at = static_cast<size_t>(best - merges.begin());
    symbols[at] = best->id;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    merges.erase(best);
    if (at < merges.size()) merges[at] = merge_at(at);
    if (at > 0) merges[at - 1] = merge_at(at - 1);
  }
  ids->insert(ids->end(), symbols.begin(), symbols.end());
}

// Pushes the merge of the symbol at `position` and the one behind it, if there is one.
void BpeModel::PushCandidate(int32_t position, BpeWorkspace* workspace) const {
  const auto& symbols = workspace->symbols_;
  const auto& left = symbols[static_cast<size_t>(position)];
  if (left.next < 0) return;
  const auto& right = symbols[static_cast<size_t>(left.next)];
  const Merge* merge = merges_.Find(left.id, right.id);
  if (!merge) return;
  workspace->heap_.push_back({merge->rank, position, left.id, right.id, merge->id});
}

// Every byte as a symbol, linked to its neighbours.
void BpeModel::FillSymbols(std::string_view piece, BpeWorkspace* workspace) const {
  workspace->symbols_.clear();
  const auto count = static_cast<int32_t>(piece.size());
  for (int32_t i = 0; i < count; ++i) {
    const auto byte = static_cast<uint8_t>(piece[static_cast<size_t>(i)]);
    workspace->symbols_.push_back({byte_ids_[byte], i - 1, i + 1 < count ? i + 1 : -1});
  }
}

// False: an earlier merge has changed one of the two symbols.
bool BpeModel::Apply(const BpeWorkspace::Candidate& merge, BpeWorkspace* workspace) {
  auto& symbols = workspace->symbols_;
  auto& left = symbols[static_cast<size_t>(merge.position)];
  if (left.gone || left.id != merge.left || left.next < 0) return false;
  auto& right = symbols[static_cast<size_t>(left.next)];
  if (right.id != merge.right) return false;
  left.id = merge.merged;
  left.next = right.next;
  right.gone = true;
  if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = merge.position;
  return true;
}

void BpeModel::MergeLong(std::string_view piece, BpeWorkspace* workspace,
                         std::vector<int32_t>* ids) const {
  using Candidate = BpeWorkspace::Candidate;
  auto& symbols = workspace->symbols_;
  auto& heap = workspace->heap_;
  const auto worse = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  FillSymbols(piece, workspace);
  heap.clear();
  for (size_t i = 0; i < piece.size(); ++i) PushCandidate(static_cast<int32_t>(i), workspace);
  std::ranges::make_heap(heap, worse);
  const auto push = [&](int32_t position) {
    const size_t before = heap.size();
    if (position >= 0) PushCandidate(position, workspace);
    if (heap.size() > before) std::ranges::push_heap(heap, worse);
  };
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, worse);
    const Candidate best = heap.back();
    heap.pop_back();
    if (!Apply(best, workspace)) continue;
    push(best.position);
    push(symbols[static_cast<size_t>(best.position)].previous);
  }
  for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
    ids->push_back(symbols[static_cast<size_t>(i)].id);
  }
}

}  // namespace npumoe
