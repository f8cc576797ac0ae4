#include "model/tokenizer/pre_tokenizer.h"

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
    const auto& byte_level = std::get<ByteLevelStep>(step);
    pre_tokenizer.add_prefix_space_ = byte_level.add_prefix_space;
    pre_tokenizer.patterns_before_space_ = pre_tokenizer.patterns_.size();
    if (byte_level.use_regex) {
      NPUMOE_ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::FromRegex(kGpt2Pattern, name));
      pre_tokenizer.patterns_.push_back(std::move(pattern));
    }
  }
  return pre_tokenizer;
}

Status PreTokenizer::Split(std::string_view text, PatternWorkspace* workspace,
                           const PieceSink& sink) const {
  if (text.empty()) return OkStatus();
  return RunFrom(0, text, workspace, sink);
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
