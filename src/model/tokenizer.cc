#include "model/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/mapped_file.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/tokenizer_json.h"
#include "model/tokenizer/utf8.h"
#include "model/tokenizer/vocabulary.h"

namespace npumoe {
namespace {

// Largest tokenizer.json, chosen: ten times the largest published ones (about 33 MB).
constexpr size_t kMaxFileBytes = size_t{320} << 20;

// Longest text of one call; positions inside are 32 bits wide. Chosen, far above any context.
constexpr size_t kMaxTextBytes = size_t{1} << 30;

// Added tokens as their contents are looked for and decoded: normalized where the flag says so.
std::vector<AddedToken> NormalizeContents(const TokenizerSpec& spec) {
  std::vector<AddedToken> tokens = spec.added_tokens;
  for (AddedToken& token : tokens) {
    if (token.normalized && !spec.normalizers.empty()) token.content = Nfc(token.content);
  }
  return tokens;
}

std::vector<AddedToken> Select(const std::vector<AddedToken>& tokens, bool normalized) {
  std::vector<AddedToken> selected;
  for (const AddedToken& token : tokens) {
    if (token.normalized == normalized) selected.push_back(token);
  }
  return selected;
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

struct ControlledText {
  std::string text;
  std::vector<TextRange> control;
};

// Each side of a range's border is normalized on its own, so that the ranges stay exact.
ControlledText NormalizeParts(std::string_view text, std::span<const TextRange> control) {
  ControlledText normalized;
  size_t done = 0;
  for (const TextRange& range : control) {
    normalized.text += Nfc(text.substr(done, range.begin - done));
    const size_t begin = normalized.text.size();
    normalized.text += Nfc(text.substr(range.begin, range.end - range.begin));
    normalized.control.push_back({begin, normalized.text.size()});
    done = range.end;
  }
  normalized.text += Nfc(text.substr(done));
  return normalized;
}

}  // namespace

struct Tokenizer::Impl {
  Impl(Vocabulary vocabulary_in, BpeModel bpe_in, PreTokenizer pre_tokenizer_in,
       const std::vector<AddedToken>& added_tokens)
      : vocabulary(std::move(vocabulary_in)),
        bpe(std::move(bpe_in)),
        pre_tokenizer(std::move(pre_tokenizer_in)),
        raw_tokens(Select(added_tokens, false)),
        normalized_tokens(Select(added_tokens, true)) {}

  // One call of Encode: its buffers and its result.
  struct Encoding {
    PatternWorkspace pattern;
    BpeWorkspace bpe;
    std::vector<int32_t> ids;
  };

  Status EncodeRaw(std::string_view text, std::span<const TextRange> control,
                   Encoding* encoding) const;
  Status EncodeUnnormalized(std::string_view text, std::span<const TextRange> control,
                            Encoding* encoding) const;
  Status EncodeNormalized(std::string_view text, std::span<const TextRange> control,
                          Encoding* encoding) const;
  Status EncodePlain(std::string_view text, Encoding* encoding) const;

  std::string name;
  std::string hash;
  Vocabulary vocabulary;
  BpeModel bpe;
  PreTokenizer pre_tokenizer;
  AddedTokenMatcher raw_tokens;
  AddedTokenMatcher normalized_tokens;
  bool normalizes = false;
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

Status Tokenizer::Impl::EncodeRaw(std::string_view text, std::span<const TextRange> control,
                                  Encoding* encoding) const {
  const auto matches = raw_tokens.Find(text, control);
  return ForEachPart(text, matches, &encoding->ids, [&](size_t begin, size_t end) {
    const std::vector<TextRange> inner = Clip(control, begin, end);
    return EncodeUnnormalized(text.substr(begin, end - begin), inner, encoding);
  });
}

Status Tokenizer::Impl::EncodeUnnormalized(std::string_view text,
                                           std::span<const TextRange> control,
                                           Encoding* encoding) const {
  if (!normalizes || !MayChangeInNfc(text)) return EncodeNormalized(text, control, encoding);
  const ControlledText normalized = NormalizeParts(text, control);
  return EncodeNormalized(normalized.text, normalized.control, encoding);
}

Status Tokenizer::Impl::EncodeNormalized(std::string_view text, std::span<const TextRange> control,
                                         Encoding* encoding) const {
  const auto matches = normalized_tokens.Find(text, control);
  return ForEachPart(text, matches, &encoding->ids, [&](size_t begin, size_t end) {
    return EncodePlain(text.substr(begin, end - begin), encoding);
  });
}

Status Tokenizer::Impl::EncodePlain(std::string_view text, Encoding* encoding) const {
  return pre_tokenizer.Split(text, &encoding->pattern, [&](std::string_view piece) {
    return bpe.Encode(piece, &encoding->bpe, &encoding->ids);
  });
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

Result<std::shared_ptr<const Tokenizer>> Tokenizer::Load(const std::filesystem::path& path) {
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(path, ignored);
  const std::filesystem::path file = is_folder ? path / "tokenizer.json" : path;
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(file, kMaxFileBytes));
  return FromJson(text, file.string());
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::FromJson(std::string_view text,
                                                             const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const TokenizerSpec spec, ParseTokenizerJson(text, name));
  const std::vector<AddedToken> added_tokens = NormalizeContents(spec);
  std::vector<std::string> decoded_contents;
  for (const AddedToken& token : added_tokens) decoded_contents.push_back(token.content);
  NPUMOE_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Build(spec, decoded_contents, name));
  NPUMOE_ASSIGN_OR_RETURN(BpeModel bpe, BpeModel::Build(spec.bpe, name));
  NPUMOE_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer,
                          PreTokenizer::Build(spec.pre_tokenizers, name));
  auto impl = std::make_unique<Impl>(std::move(vocabulary), std::move(bpe),
                                     std::move(pre_tokenizer), added_tokens);
  impl->name = name;
  impl->hash = Hasher().Add(text).Hex();
  impl->normalizes = !spec.normalizers.empty();
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

Result<std::vector<int32_t>> Tokenizer::Encode(std::string_view text, SpecialTokens special) const {
  const TextRange whole{0, text.size()};
  if (special == SpecialTokens::kAsText) return EncodeWithControl(text, {});
  return EncodeWithControl(text, {&whole, 1});
}

Result<std::vector<int32_t>> Tokenizer::EncodeWithControl(
    std::string_view text, std::span<const TextRange> control) const {
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
  NPUMOE_RETURN_IF_ERROR(impl_->EncodeRaw(text, control, &encoding));
  return std::move(encoding.ids);
}

Result<std::string> Tokenizer::Decode(std::span<const int32_t> ids, DecodeSpecial special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (special == DecodeSpecial::kSkip && IsSpecial(id)) continue;
    NPUMOE_ASSIGN_OR_RETURN(const std::string token, TokenBytes(id));
    bytes += token;
  }
  return ReplaceInvalidUtf8(bytes);
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

}  // namespace npumoe
