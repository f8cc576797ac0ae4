#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/tokenizer/tokenizer_json.h"

namespace npumoe {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson ReplaceJson(const ReplaceNormalizer& step) {
  return {{"type", "Replace"}, {"pattern", {{"String", step.pattern}}}, {"content", step.content}};
}

struct NormalizerJson {
  OrderedJson operator()(const NfcNormalizer&) const { return {{"type", "NFC"}}; }
  OrderedJson operator()(const NfkcNormalizer&) const { return {{"type", "NFKC"}}; }
  OrderedJson operator()(const PrependNormalizer& step) const {
    return {{"type", "Prepend"}, {"prepend", step.text}};
  }
  OrderedJson operator()(const ReplaceNormalizer& step) const { return ReplaceJson(step); }
  OrderedJson operator()(const StripNormalizer& step) const {
    return {{"type", "Strip"}, {"strip_left", step.left}, {"strip_right", step.right}};
  }
};

struct PreTokenizerJson {
  OrderedJson operator()(const SplitStep& step) const {
    const char* kind = step.kind == SplitStep::Kind::kRegex ? "Regex" : "String";
    return {{"type", "Split"},
            {"pattern", {{kind, step.pattern}}},
            {"behavior", "Isolated"},
            {"invert", false}};
  }
  OrderedJson operator()(const ByteLevelStep& step) const {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", step.add_prefix_space},
            {"trim_offsets", true},
            {"use_regex", step.use_regex}};
  }
  OrderedJson operator()(const MetaspaceStep& step) const {
    constexpr const char* kSchemes[] = {"always", "first", "never"};
    return {{"type", "Metaspace"},
            {"replacement", step.replacement},
            {"prepend_scheme", kSchemes[static_cast<int>(step.prepend)]},
            {"split", step.split}};
  }
};

// One step stands alone, several in a Sequence; none is null.
OrderedJson Pipeline(const char* list_field, std::vector<OrderedJson> steps) {
  if (steps.empty()) return nullptr;
  if (steps.size() == 1) return std::move(steps[0]);
  return {{"type", "Sequence"}, {list_field, std::move(steps)}};
}

OrderedJson DecoderJson(const DecoderSpec& decoder) {
  if (decoder.kind == DecoderSpec::Kind::kByteLevel) {
    return PreTokenizerJson()(ByteLevelStep{});
  }
  std::vector<OrderedJson> steps;
  for (const ReplaceNormalizer& step : decoder.replacements) steps.push_back(ReplaceJson(step));
  if (decoder.byte_fallback) steps.push_back({{"type", "ByteFallback"}});
  steps.push_back({{"type", "Fuse"}});
  if (decoder.strip_start > 0) {
    steps.push_back({{"type", "Strip"},
                     {"content", decoder.strip_content},
                     {"start", decoder.strip_start},
                     {"stop", 0}});
  }
  return Pipeline("decoders", std::move(steps));
}

// "single" with the ids before and behind the text; null where there are none.
OrderedJson PostProcessorJson(const TokenizerSpec& spec) {
  if (spec.prefix_ids.empty() && spec.suffix_ids.empty()) return nullptr;
  OrderedJson single = OrderedJson::array();
  OrderedJson special = OrderedJson::object();
  const auto add = [&](const std::vector<int32_t>& ids) {
    for (const int32_t id : ids) {
      const std::string name = std::to_string(id);
      single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
      special[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    }
  };
  add(spec.prefix_ids);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(spec.suffix_ids);
  const OrderedJson pair = {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                            {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}};
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", pair},
          {"special_tokens", std::move(special)}};
}

OrderedJson AddedTokensJson(const TokenizerSpec& spec) {
  OrderedJson list = OrderedJson::array();
  for (const AddedToken& token : spec.added_tokens) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", token.single_word},
                    {"lstrip", token.strip_left},
                    {"rstrip", token.strip_right},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

OrderedJson ModelJson(const BpeSpec& bpe) {
  OrderedJson vocabulary = OrderedJson::object();
  auto& tokens = vocabulary.get_ref<OrderedJson::object_t&>();
  // Straight into the list of members: looking each key up first would be quadratic.
  for (const auto& [spelling, id] : bpe.vocabulary) {
    tokens.std::vector<std::pair<const std::string, OrderedJson>>::emplace_back(spelling, id);
  }
  OrderedJson merges = OrderedJson::array();
  for (const auto& [left, right] : bpe.merges) merges.push_back(OrderedJson::array({left, right}));
  OrderedJson unknown;  // null: there is none
  if (!bpe.unknown_token.empty()) unknown = bpe.unknown_token;
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unknown},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", bpe.fuse_unknown},
          {"byte_fallback", bpe.byte_fallback},
          {"ignore_merges", bpe.ignore_merges},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(merges)}};
}

// Merges in the order of their ranks, which is all that the file can say.
BpeSpec InOrderOfRank(BpeSpec bpe) {
  if (bpe.merge_ranks.empty()) return bpe;
  std::vector<size_t> order(bpe.merges.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](size_t i) { return bpe.merge_ranks[i]; });
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(order.size());
  for (const size_t i : order) merges.push_back(std::move(bpe.merges[i]));
  bpe.merges = std::move(merges);
  bpe.merge_ranks.clear();
  return bpe;
}

}  // namespace

std::string TokenizerJsonText(const TokenizerSpec& spec) {
  std::vector<OrderedJson> normalizers, pre_tokenizers;
  for (const auto& step : spec.normalizers) {
    normalizers.push_back(std::visit(NormalizerJson(), step));
  }
  for (const auto& step : spec.pre_tokenizers) {
    pre_tokenizers.push_back(std::visit(PreTokenizerJson(), step));
  }
  const OrderedJson json = {{"version", "1.0"},
                            {"truncation", nullptr},
                            {"padding", nullptr},
                            {"added_tokens", AddedTokensJson(spec)},
                            {"normalizer", Pipeline("normalizers", std::move(normalizers))},
                            {"pre_tokenizer", Pipeline("pretokenizers", std::move(pre_tokenizers))},
                            {"post_processor", PostProcessorJson(spec)},
                            {"decoder", DecoderJson(spec.decoder)},
                            {"model", ModelJson(InOrderOfRank(spec.bpe))}};
  return json.dump() + "\n";
}

}  // namespace npumoe
