#include "model/tokenizer/bpe.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "model/tokenizer/byte_level.h"

namespace npumoe {
namespace {

// Words of up to so many symbols are merged by scanning all pairs, which is quick for a word;
// longer ones by a queue, which does not become quadratic. Chosen: longer than nearly every word.
constexpr size_t kShortWordSymbols = 32;

constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();

using IdsBySpelling = std::unordered_map<std::string_view, int32_t>;

struct MergeNames {
  const BpeSpec& spec;
  const std::string& name;
  IdsBySpelling ids;
};

Result<int32_t> FindMergeToken(const MergeNames& names, const std::string& token, size_t index) {
  const auto found = names.ids.find(token);
  if (found == names.ids.end()) {
    return InvalidInput(names.name + ": field '" + names.spec.merges_field + "'[" +
                        std::to_string(index) + "]: '" + token + "' is not a token of " +
                        names.spec.vocabulary_field);
  }
  return found->second;
}

bool IsControl(const std::vector<bool>& is_control, int32_t id) {
  return static_cast<size_t>(id) < is_control.size() && is_control[static_cast<size_t>(id)];
}

Status FillMerges(const BpeSpec& spec, const std::vector<bool>& is_control, const std::string& name,
                  MergeTable* merges) {
  MergeNames names{spec, name, {}};
  names.ids.reserve(spec.vocabulary.size());
  for (const auto& [spelling, id] : spec.vocabulary) names.ids.emplace(spelling, id);
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    const auto& [left, right] = spec.merges[i];
    NPUMOE_ASSIGN_OR_RETURN(const int32_t left_id, FindMergeToken(names, left, i));
    NPUMOE_ASSIGN_OR_RETURN(const int32_t right_id, FindMergeToken(names, right, i));
    NPUMOE_ASSIGN_OR_RETURN(const int32_t merged, FindMergeToken(names, left + right, i));
    if (IsControl(is_control, merged)) continue;
    const uint32_t rank = spec.merge_ranks.empty() ? static_cast<uint32_t>(i) : spec.merge_ranks[i];
    merges->Put(left_id, right_id, {rank, merged});
  }
  return OkStatus();
}

size_t HashOf(std::string_view word) { return std::hash<std::string_view>{}(word); }

}  // namespace

Result<BpeModel> BpeModel::Build(const BpeSpec& spec, const std::vector<bool>& is_control,
                                 const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(SymbolTable symbols, SymbolTable::Build(spec, is_control, name));
  BpeModel model(std::move(symbols), WordBorders(spec), spec.merges.size());
  if (spec.ignore_merges) model.AddWholePieces(spec, is_control);
  NPUMOE_RETURN_IF_ERROR(FillMerges(spec, is_control, name, &model.merges_));
  return model;
}

void BpeModel::AddWholePieces(const BpeSpec& spec, const std::vector<bool>& is_control) {
  whole_pieces_.reserve(spec.vocabulary.size());
  for (const auto& [spelling, id] : spec.vocabulary) {
    if (IsControl(is_control, id)) continue;
    if (spec.symbols == BpeSymbols::kCharacters) {
      whole_pieces_.emplace(spelling, id);
    } else if (std::optional<std::string> bytes = BytesOfSpelling(spelling)) {
      whole_pieces_.emplace(std::move(*bytes), id);
    }
  }
}

Status BpeModel::Encode(std::string_view piece, BpeWorkspace* workspace,
                        std::vector<int32_t>* ids) const {
  size_t word = borders_.FirstWordBytes(piece);
  if (word < piece.size() && AppendWhole(piece, ids)) return OkStatus();
  for (;;) {
    NPUMOE_RETURN_IF_ERROR(EncodeWord(piece.substr(0, word), workspace, ids));
    piece.remove_prefix(word);
    if (piece.empty()) return OkStatus();
    word = borders_.FirstWordBytes(piece);
  }
}

bool BpeModel::AppendWhole(std::string_view piece, std::vector<int32_t>* ids) const {
  if (whole_pieces_.empty()) return false;
  const auto whole = whole_pieces_.find(piece);
  if (whole == whole_pieces_.end()) return false;
  ids->push_back(whole->second);
  return true;
}

Status BpeModel::EncodeWord(std::string_view word, BpeWorkspace* workspace,
                            std::vector<int32_t>* ids) const {
  if (word.size() <= BpeWorkspace::kCachedBytes) return EncodeCached(word, workspace, ids);
  if (AppendWhole(word, ids)) return OkStatus();
  return MergeWord(word, workspace, ids);
}

Status BpeModel::EncodeCached(std::string_view word, BpeWorkspace* workspace,
                              std::vector<int32_t>* ids) const {
  auto& cached = workspace->cache_[HashOf(word) % BpeWorkspace::kCacheEntries];
  if (std::string_view(cached.text.data(), cached.bytes) == word) {
    ids->insert(ids->end(), cached.ids.begin(), cached.ids.begin() + cached.count);
    return OkStatus();
  }
  const size_t begin = ids->size();
  if (!AppendWhole(word, ids)) NPUMOE_RETURN_IF_ERROR(MergeWord(word, workspace, ids));
  const size_t count = ids->size() - begin;
  if (count > cached.ids.size()) return OkStatus();
  cached.bytes = static_cast<uint8_t>(word.size());
  cached.count = static_cast<uint8_t>(count);
  std::memcpy(cached.text.data(), word.data(), word.size());
  std::copy_n(ids->begin() + static_cast<std::ptrdiff_t>(begin), count, cached.ids.begin());
  return OkStatus();
}

Status BpeModel::MergeWord(std::string_view word, BpeWorkspace* workspace,
                           std::vector<int32_t>* ids) const {
  workspace->symbols_.clear();
  NPUMOE_RETURN_IF_ERROR(symbols_.Append(word, &workspace->symbols_));
  if (workspace->symbols_.size() <= kShortWordSymbols) {
    MergeShort(workspace, ids);
  } else {
    MergeLong(workspace, ids);
  }
  return OkStatus();
}

void BpeModel::MergeShort(BpeWorkspace* workspace, std::vector<int32_t>* ids) const {
  std::vector<int32_t>& symbols = workspace->symbols_;
  std::vector<Merge>& merges = workspace->short_merges_;  // merges[i]: of symbols i and i + 1
  merges.clear();
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
  const auto& links = workspace->links_;
  const auto& left = links[static_cast<size_t>(position)];
  if (left.next < 0) return;
  const auto& right = links[static_cast<size_t>(left.next)];
  const Merge* merge = merges_.Find(left.id, right.id);
  if (!merge) return;
  workspace->queue_.Push({merge->rank, position, left.id, right.id, merge->id});
}

// Every symbol, linked to its neighbours.
void BpeModel::FillLinks(BpeWorkspace* workspace) {
  workspace->links_.clear();
  const auto count = static_cast<int32_t>(workspace->symbols_.size());
  for (int32_t i = 0; i < count; ++i) {
    workspace->links_.push_back(
        {workspace->symbols_[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  }
}

// False: an earlier merge has changed one of the two symbols.
bool BpeModel::Apply(const MergeCandidate& merge, BpeWorkspace* workspace) {
  auto& links = workspace->links_;
  auto& left = links[static_cast<size_t>(merge.position)];
  if (left.gone || left.id != merge.left || left.next < 0) return false;
  auto& right = links[static_cast<size_t>(left.next)];
  if (right.id != merge.right) return false;
  left.id = merge.merged;
  left.next = right.next;
  right.gone = true;
  if (left.next >= 0) links[static_cast<size_t>(left.next)].previous = merge.position;
  return true;
}

void BpeModel::MergeLong(BpeWorkspace* workspace, std::vector<int32_t>* ids) const {
  FillLinks(workspace);
  auto& links = workspace->links_;
  MergeQueue& queue = workspace->queue_;
  queue.Clear();
  for (size_t i = 0; i < links.size(); ++i) PushCandidate(static_cast<int32_t>(i), workspace);
  while (!queue.IsEmpty()) {
    const MergeCandidate best = queue.Pop();
    if (!Apply(best, workspace)) continue;
    // The one before first: so places come in their order.
    const int32_t previous = links[static_cast<size_t>(best.position)].previous;
    if (previous >= 0) PushCandidate(previous, workspace);
    PushCandidate(best.position, workspace);
  }
  for (int32_t i = 0; i >= 0; i = links[static_cast<size_t>(i)].next) {
    ids->push_back(links[static_cast<size_t>(i)].id);
  }
}

}  // namespace npumoe
