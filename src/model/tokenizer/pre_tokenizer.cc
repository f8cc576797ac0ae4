#include "model/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "model/tokenizer/normalizer_pipeline.h"

namespace npumoe {
namespace {

// The pattern of GPT-2, which `use_regex` of ByteLevel stands for.
constexpr char kGpt2Pattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Result<SplitPattern> CompileSplit(const SplitStep& step, const std::string& name) {
  const std::string field = name + ": field 'pre_tokenizer'";
  return step.kind == SplitStep::Kind::kRegex ? SplitPattern::FromRegex(step.pattern, field)
                                              : SplitPattern::FromLiteral(step.pattern, field);
}

}  // namespace

Result<PreTokenizer> PreTokenizer::Build(const std::vector<PreTokenizerStep>& steps,
                                         const std::string& name) {
  PreTokenizer pre_tokenizer;
  for (const PreTokenizerStep& step : steps) {
    if (const auto* split = std::get_if<SplitStep>(&step)) {
      NPUMOE_ASSIGN_OR_RETURN(SplitPattern pattern, CompileSplit(*split, name));
      pre_tokenizer.patterns_.push_back(std::move(pattern));
      continue;
    }
    if (const auto* metaspace = std::get_if<MetaspaceStep>(&step)) {
      pre_tokenizer.metaspace_ = *metaspace;
      continue;
    }
    const auto& byte_level = std::get<ByteLevelStep>(step);
    pre_tokenizer.is_byte_level_ = true;
    pre_tokenizer.add_prefix_space_ = byte_level.add_prefix_space;
    pre_tokenizer.patterns_before_space_ = pre_tokenizer.patterns_.size();
    if (byte_level.use_regex) {
      NPUMOE_ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::FromRegex(kGpt2Pattern, name));
      pre_tokenizer.patterns_.push_back(std::move(pattern));
    }
  }
  return pre_tokenizer;
}

Status PreTokenizer::Split(std::string_view text, TextPlace place, PatternWorkspace* workspace,
                           const PieceSink& sink) const {
  if (text.empty()) return OkStatus();
  if (metaspace_) return Metaspace(text, place, sink);
  return is_byte_level_ ? RunFrom(0, text, workspace, sink) : sink(text);
}

Status PreTokenizer::Metaspace(std::string_view text, TextPlace place,
                               const PieceSink& sink) const {
  using Prepend = MetaspaceStep::Prepend;
  const std::string& space = metaspace_->replacement;
  std::string replaced = ReplaceAll(text, " ", space);
  const bool prepends = metaspace_->prepend == Prepend::kAlways ||
                        (metaspace_->prepend == Prepend::kFirst && place == TextPlace::kBegin);
  if (prepends && !replaced.starts_with(space)) replaced.insert(0, space);
  if (!metaspace_->split) return sink(replaced);
  std::string_view rest = replaced;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(space, 1), rest.size());
    NPUMOE_RETURN_IF_ERROR(sink(rest.substr(0, end)));
    rest.remove_prefix(end);
  }
  return OkStatus();
}

Status PreTokenizer::RunFrom(size_t index, std::string_view text, PatternWorkspace* workspace,
                             const PieceSink& sink) const {
  if (index == patterns_before_space_) return ByteLevel(text, workspace, sink);
  return patterns_[index].Split(text, workspace, [&](std::string_view piece) {
    return RunFrom(index + 1, piece, workspace, sink);
  });
}

Status PreTokenizer::ByteLevel(std::string_view text, PatternWorkspace* workspace,
                               const PieceSink& sink) const {
  std::string with_space;
  if (add_prefix_space_ && !text.starts_with(' ')) {
    with_space = " " + std::string(text);
    text = with_space;
  }
  if (patterns_before_space_ == patterns_.size()) return sink(text);
  return patterns_.back().Split(text, workspace, sink);
}

}  // namespace npumoe
