#include "model/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/normalizer_pipeline.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/tokenizer_files.h"
#include "model/tokenizer/tokenizer_json.h"
#include "model/tokenizer/utf8.h"
#include "model/tokenizer/vocabulary.h"

namespace npumoe {
namespace {

// Longest text of one call; positions inside are 32 bits wide. Chosen, far above any context.
constexpr size_t kMaxTextBytes = kMaxNormalizedBytes;

// Added tokens as their contents are looked for and decoded: normalized where the flag says so.
Result<std::vector<AddedToken>> NormalizeContents(const TokenizerSpec& spec,
                                                  const NormalizerPipeline& normalizer,
                                                  const std::string& name) {
  std::vector<AddedToken> tokens = spec.added_tokens;
  for (AddedToken& token : tokens) {
    if (!token.normalized || token.content.empty()) continue;
    NPUMOE_ASSIGN_OR_RETURN(ControlledText normalized, normalizer.Run({token.content, {}}));
    if (normalized.text.size() > kMaxAddedTokenBytes) {
      return InvalidInput(name + ": field 'added_tokens': '" + token.content + "' has " +
                          std::to_string(normalized.text.size()) +
                          " bytes when it is normalized, allowed are " +
                          std::to_string(kMaxAddedTokenBytes));
    }
    token.content = std::move(normalized.text);
  }
  return tokens;
}

std::vector<AddedToken> Select(const std::vector<AddedToken>& tokens, bool normalized) {
  std::vector<AddedToken> selected;
  for (const AddedToken& token : tokens) {
    // A normalizer may leave nothing of a token; then nothing spells it.
    if (token.normalized == normalized && !token.content.empty()) selected.push_back(token);
  }
  return selected;
}

// Tokens that BPE must never make of a text: those that are looked for in the raw text beforehand,
// and special ones. Where they are not to count, their spelling stays text.
std::vector<bool> ControlTokens(const TokenizerSpec& spec) {
  std::vector<bool> is_control;
  for (const AddedToken& token : spec.added_tokens) {
    const auto index = static_cast<size_t>(token.id);
    if (is_control.size() <= index) is_control.resize(index + 1);
    if (token.special || !token.normalized) is_control[index] = true;
  }
  return is_control;
}

Status CheckFrame(const Vocabulary& vocabulary, const TokenizerSpec& spec,
                  const std::string& name) {
  for (const std::vector<int32_t>* ids : {&spec.prefix_ids, &spec.suffix_ids}) {
    for (const int32_t id : *ids) {
      if (vocabulary.Contains(id)) continue;
      return InvalidInput(name + ": the tokens put around a text have the id " +
                          std::to_string(id) + ", ids from 0 to " +
                          std::to_string(vocabulary.size() - 1) + " are allowed");
    }
  }
  return OkStatus();
}

// The part of `ranges` inside [begin, end), counted from `begin`.
std::vector<TextRange> Clip(std::span<const TextRange> ranges, size_t begin, size_t end) {
  std::vector<TextRange> clipped;
  auto range = std::ranges::upper_bound(ranges, begin, {}, &TextRange::end);
  for (; range != ranges.end() && range->begin < end; ++range) {
    const size_t from = std::max(range->begin, begin);
    const size_t to = std::min(range->end, end);
    if (from < to) clipped.push_back({from - begin, to - begin});
  }
  return clipped;
}

void CheckRanges(std::string_view text, std::span<const TextRange> ranges) {
  size_t last_end = 0;
  for (const TextRange& range : ranges) {
    NPUMOE_CHECK(range.begin >= last_end && range.begin <= range.end && range.end <= text.size());
    last_end = range.end;
  }
}

}  // namespace

struct Tokenizer::Impl {
  // What text is encoded with; the rest is what ids mean.
  struct Parts {
    BpeModel bpe;
    PreTokenizer pre_tokenizer;
    NormalizerPipeline normalizer;
    AddedTokenMatcher raw_tokens;
    AddedTokenMatcher normalized_tokens;
  };
  // One call of Encode: its buffers and its result.
  struct Encoding {
    PatternWorkspace pattern;
    BpeWorkspace bpe;
    std::vector<int32_t> ids;
  };

  Impl(Vocabulary vocabulary_in, Parts parts_in)
      : vocabulary(std::move(vocabulary_in)), parts(std::move(parts_in)) {}

  Status EncodeRaw(std::string_view text, const ControlScope& scope, Encoding* encoding) const;
  Status EncodeUnnormalized(std::string_view text, const ControlScope& scope, TextPlace place,
                            Encoding* encoding) const;
  Status EncodeNormalized(std::string_view text, const ControlScope& scope, TextPlace place,
                          Encoding* encoding) const;
  Status EncodePlain(std::string_view text, TextPlace place, Encoding* encoding) const;

  std::string name;
  std::string hash;
  Vocabulary vocabulary;
  Parts parts;
  DecoderSpec decoder;
  std::vector<int32_t> prefix_ids, suffix_ids;
  std::string bos_token, eos_token;
};

namespace {

// Calls `between(begin, end)` for what lies between matches and puts their ids into the result.
// Matches may overlap where white space was stripped: text is then left out once, as in the
// reference.
template <class Between>
Status ForEachPart(std::string_view text, const std::vector<AddedTokenMatch>& matches,
                   std::vector<int32_t>* ids, const Between& between) {
  size_t done = 0;
  for (const AddedTokenMatch& match : matches) {
    if (done < match.begin) NPUMOE_RETURN_IF_ERROR(between(done, match.begin));
    ids->push_back(match.id);
    done = match.end;
  }
  return done < text.size() ? between(done, text.size()) : OkStatus();
}

}  // namespace

Status Tokenizer::Impl::EncodeRaw(std::string_view text, const ControlScope& scope,
                                  Encoding* encoding) const {
  const auto matches = parts.raw_tokens.Find(text, scope);
  return ForEachPart(text, matches, &encoding->ids, [&](size_t begin, size_t end) {
    const std::vector<TextRange> inner = Clip(scope.ranges, begin, end);
    return EncodeUnnormalized(text.substr(begin, end - begin), {inner, scope.also_tokens},
                              begin == 0 ? TextPlace::kBegin : TextPlace::kInside, encoding);
  });
}

Status Tokenizer::Impl::EncodeUnnormalized(std::string_view text, const ControlScope& scope,
                                           TextPlace place, Encoding* encoding) const {
  if (!parts.normalizer.MayChange(text)) return EncodeNormalized(text, scope, place, encoding);
  NPUMOE_ASSIGN_OR_RETURN(
      const ControlledText normalized,
      parts.normalizer.Run({std::string(text), {scope.ranges.begin(), scope.ranges.end()}}));
  return EncodeNormalized(normalized.text, {normalized.control, scope.also_tokens}, place,
                          encoding);
}

Status Tokenizer::Impl::EncodeNormalized(std::string_view text, const ControlScope& scope,
                                         TextPlace place, Encoding* encoding) const {
  const auto matches = parts.normalized_tokens.Find(text, scope);
  return ForEachPart(text, matches, &encoding->ids, [&](size_t begin, size_t end) {
    return EncodePlain(text.substr(begin, end - begin), begin == 0 ? place : TextPlace::kInside,
                       encoding);
  });
}

Status Tokenizer::Impl::EncodePlain(std::string_view text, TextPlace place,
                                    Encoding* encoding) const {
  return parts.pre_tokenizer.Split(text, place, &encoding->pattern, [&](std::string_view piece) {
    return parts.bpe.Encode(piece, &encoding->bpe, &encoding->ids);
  });
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

Result<std::shared_ptr<const Tokenizer>> Tokenizer::Load(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(const TokenizerFiles files, ReadTokenizerFiles(path));
  return FromSpec(files.spec, files.name, files.hash);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::FromJson(std::string_view text,
                                                             const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const TokenizerSpec spec, ParseTokenizerJson(text, name));
  return FromSpec(spec, name, Hasher().Add(text).Hex());
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::FromGguf(const GgufVocabulary& vocabulary,
                                                             const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const TokenizerSpec spec, SpecFromGguf(vocabulary, name));
  return FromSpec(spec, name, HashOf(vocabulary));
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::FromSpec(const TokenizerSpec& spec,
                                                             const std::string& name,
                                                             std::string hash) {
  NormalizerPipeline normalizer(spec.normalizers, name);
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<AddedToken> added,
                          NormalizeContents(spec, normalizer, name));
  std::vector<std::string> decoded_contents;
  for (const AddedToken& token : added) decoded_contents.push_back(token.content);
  NPUMOE_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Build(spec, decoded_contents, name));
  NPUMOE_RETURN_IF_ERROR(CheckFrame(vocabulary, spec, name));
  NPUMOE_ASSIGN_OR_RETURN(BpeModel bpe, BpeModel::Build(spec.bpe, ControlTokens(spec), name));
  NPUMOE_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer,
                          PreTokenizer::Build(spec.pre_tokenizers, name));
  auto impl = std::make_unique<Impl>(
      std::move(vocabulary),
      Impl::Parts{std::move(bpe), std::move(pre_tokenizer), std::move(normalizer),
                  AddedTokenMatcher(Select(added, false)), AddedTokenMatcher(Select(added, true))});
  impl->name = name;
  impl->hash = std::move(hash);
  impl->decoder = spec.decoder;
  impl->prefix_ids = spec.prefix_ids;
  impl->suffix_ids = spec.suffix_ids;
  impl->bos_token = spec.bos_token;
  impl->eos_token = spec.eos_token;
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

Result<std::vector<int32_t>> Tokenizer::Encode(std::string_view text, SpecialTokens special) const {
  const TextRange whole{0, text.size()};
  if (special == SpecialTokens::kAsText) return EncodeWithControl(text, {});
  return EncodeWithControl(text, {&whole, 1});
}

Result<std::vector<int32_t>> Tokenizer::EncodeWithControl(
    std::string_view text, std::span<const TextRange> control,
    std::span<const int32_t> also_control) const {
  CheckRanges(text, control);
  if (text.size() > kMaxTextBytes) {
    return ResourceExhausted("the text has " + std::to_string(text.size()) +
                             " bytes, allowed are " + std::to_string(kMaxTextBytes));
  }
  if (const auto offset = FirstInvalidUtf8(text)) {
    return InvalidInput("the text is not valid UTF-8 at byte " + std::to_string(*offset) +
                        "; convert it to UTF-8");
  }
  Impl::Encoding encoding;
  NPUMOE_RETURN_IF_ERROR(impl_->EncodeRaw(text, {control, also_control}, &encoding));
  return std::move(encoding.ids);
}

Result<std::string> Tokenizer::Decode(std::span<const int32_t> ids, DecodeSpecial special) const {
  TextAssembler assembler(impl_->decoder);
  std::string text;
  for (const int32_t id : ids) {
    if (special == DecodeSpecial::kSkip && IsSpecial(id)) continue;
    NPUMOE_ASSIGN_OR_RETURN(const std::string bytes, TokenBytes(id));
    text += assembler.Add(bytes, IsFallbackByte(id));
  }
  return text + assembler.Finish();
}

Result<std::vector<int32_t>> Tokenizer::EncodePrompt(std::string_view text,
                                                     SpecialTokens special) const {
  NPUMOE_ASSIGN_OR_RETURN(std::vector<int32_t> ids, Encode(text, special));
  const std::vector<int32_t>& prefix = impl_->prefix_ids;
  const std::vector<int32_t>& suffix = impl_->suffix_ids;
  const bool has_prefix =
      ids.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), ids.begin());
  if (!has_prefix) ids.insert(ids.begin(), prefix.begin(), prefix.end());
  ids.insert(ids.end(), suffix.begin(), suffix.end());
  return ids;
}

Result<std::string> Tokenizer::TokenBytes(int32_t id) const {
  if (!impl_->vocabulary.Contains(id)) {
    return InvalidInput(impl_->name + ": token id " + std::to_string(id) +
                        " is outside the vocabulary, ids from 0 to " +
                        std::to_string(vocab_size() - 1) + " are allowed");
  }
  return impl_->vocabulary.Bytes(id);
}

int Tokenizer::vocab_size() const { return impl_->vocabulary.size(); }
bool Tokenizer::IsSpecial(int32_t id) const { return impl_->vocabulary.IsSpecial(id); }
std::optional<int32_t> Tokenizer::TokenId(std::string_view token) const {
  return impl_->vocabulary.Find(token);
}
const std::string& Tokenizer::hash() const { return impl_->hash; }
std::span<const int32_t> Tokenizer::prefix_ids() const { return impl_->prefix_ids; }
std::span<const int32_t> Tokenizer::suffix_ids() const { return impl_->suffix_ids; }
const std::string& Tokenizer::bos_token() const { return impl_->bos_token; }
const std::string& Tokenizer::eos_token() const { return impl_->eos_token; }
const DecoderSpec& Tokenizer::decoder() const { return impl_->decoder; }
bool Tokenizer::IsFallbackByte(int32_t id) const { return impl_->vocabulary.IsByte(id); }

}  // namespace npumoe
