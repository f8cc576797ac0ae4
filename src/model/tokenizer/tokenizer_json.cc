#include "model/tokenizer/tokenizer_json.h"

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "model/tokenizer/json_steps.h"
#include "model/tokenizer/pipeline_json.h"

namespace npumoe {
namespace {

// --- model ------------------------------------------------------------------------------------

Status ReadVocabulary(const JsonObject& model, BpeSpec* bpe) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject vocabulary, model.Object("vocab"));
  if (vocabulary.json().empty()) return model.FieldError("vocab", "tokens are needed");
  bpe->vocabulary.reserve(vocabulary.json().size());
  for (const auto& [spelling, id] : vocabulary.json().items()) {
    const bool in_range =
        id.is_number_unsigned() && id.get<uint64_t>() <= static_cast<uint64_t>(kMaxTokenId);
    if (!in_range) {
      return vocabulary.FieldError(spelling,
                                   "an id from 0 to " + std::to_string(kMaxTokenId) + " is needed");
    }
    bpe->vocabulary.emplace_back(spelling, id.get<int32_t>());
  }
  return OkStatus();
}

Status MergeError(const JsonObject& model, size_t index) {
  return InvalidInput(model.name() + ": field 'merges'[" + std::to_string(index) +
                      "]: two tokens are needed, as \"a b\" or [\"a\", \"b\"]");
}

// "a b", the older form; lines that begin with "#version" are no merges.
Status ReadMergeText(const JsonObject& model, const std::string& text, size_t index, BpeSpec* bpe) {
  if (text.starts_with("#version")) return OkStatus();
  const size_t space = text.find(' ');
  if (space == text.npos || text.find(' ', space + 1) != text.npos) {
    return MergeError(model, index);
  }
  bpe->merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  return OkStatus();
}

Status ReadMerges(const JsonObject& model, BpeSpec* bpe) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* merges, model.Array("merges"));
  bpe->merges.reserve(merges->size());
  for (size_t i = 0; i < merges->size(); ++i) {
    const Json& merge = (*merges)[i];
    if (merge.is_string()) {
      NPUMOE_RETURN_IF_ERROR(ReadMergeText(model, merge.get_ref<const std::string&>(), i, bpe));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      bpe->merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      return MergeError(model, i);
    }
  }
  return OkStatus();
}

// Options of the reference's BPE that change ids and that byte-level vocabularies do not use.
Status RefuseModelOptions(const JsonObject& model) {
  NPUMOE_ASSIGN_OR_RETURN(const double dropout, model.Number("dropout", 0.0, 1.0, 0.0));
  if (dropout != 0.0) return RefuseField(model, "dropout", "random dropout", "null");
  for (const char* field : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string affix, model.String(field, ""));
    if (!affix.empty()) return RefuseField(model, field, "'" + affix + "'", "null");
  }
  return OkStatus();
}

Status ReadModel(const JsonObject& root, BpeSpec* bpe) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject model, root.Object("model"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, model.String("type", "BPE"));
  if (type != "BPE") return RefuseField(model, "type", "'" + type + "'", "'BPE'");
  NPUMOE_RETURN_IF_ERROR(RefuseModelOptions(model));
  NPUMOE_ASSIGN_OR_RETURN(bpe->ignore_merges, model.Bool("ignore_merges", false));
  NPUMOE_ASSIGN_OR_RETURN(bpe->byte_fallback, model.Bool("byte_fallback", false));
  NPUMOE_ASSIGN_OR_RETURN(bpe->fuse_unknown, model.Bool("fuse_unk", false));
  NPUMOE_ASSIGN_OR_RETURN(bpe->unknown_token, model.String("unk_token", ""));
  NPUMOE_RETURN_IF_ERROR(ReadVocabulary(model, bpe));
  return ReadMerges(model, bpe);
}

// --- added tokens -----------------------------------------------------------------------------

Result<AddedToken> ReadAddedToken(const JsonObject& object) {
  AddedToken token;
  NPUMOE_ASSIGN_OR_RETURN(token.content, object.String("content"));
  if (token.content.empty()) {
    return object.FieldError("content", "at least one character is needed");
  }
  if (token.content.size() > kMaxAddedTokenBytes) {
    return object.FieldError(
        "content", "at most " + std::to_string(kMaxAddedTokenBytes) + " bytes are allowed");
  }
  NPUMOE_ASSIGN_OR_RETURN(const int64_t id, object.Int("id", 0, kMaxTokenId));
  token.id = static_cast<int32_t>(id);
  NPUMOE_ASSIGN_OR_RETURN(token.special, object.Bool("special", false));
  NPUMOE_ASSIGN_OR_RETURN(token.normalized, object.Bool("normalized", !token.special));
  NPUMOE_ASSIGN_OR_RETURN(token.single_word, object.Bool("single_word", false));
  NPUMOE_ASSIGN_OR_RETURN(token.strip_left, object.Bool("lstrip", false));
  NPUMOE_ASSIGN_OR_RETURN(token.strip_right, object.Bool("rstrip", false));
  return token;
}

Status ReadAddedTokens(const JsonObject& root, TokenizerSpec* spec) {
  if (!root.Has("added_tokens")) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, root.Array("added_tokens"));
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string name = root.name() + ": added_tokens[" + std::to_string(i) + "]";
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, JsonObject::From((*list)[i], name));
    NPUMOE_ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(object));
    spec->added_tokens.push_back(std::move(token));
  }
  return OkStatus();
}

}  // namespace

// `truncation` and `padding` shape training batches; they are left out of account here, as
// transformers does: a prompt is never cut or filled.
Result<TokenizerSpec> ParseTokenizerJson(std::string_view text, const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const Json json, ParseJson(text, name));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject root, JsonObject::From(json, name));
  NPUMOE_ASSIGN_OR_RETURN(const std::string version, root.String("version", "1.0"));
  if (version != "1.0") return RefuseField(root, "version", "'" + version + "'", "'1.0'");
  TokenizerSpec spec;
  // What kind of tokenizer it is comes first: "Unigram is not supported" says more than a
  // complaint about one of its merges.
  NPUMOE_RETURN_IF_ERROR(ReadNormalizer(root, &spec));
  NPUMOE_RETURN_IF_ERROR(ReadPreTokenizer(root, &spec));
  NPUMOE_RETURN_IF_ERROR(ReadModel(root, &spec.bpe));
  NPUMOE_RETURN_IF_ERROR(ReadDecoder(root, &spec));
  NPUMOE_RETURN_IF_ERROR(ReadPostProcessor(root, &spec));
  NPUMOE_RETURN_IF_ERROR(ReadAddedTokens(root, &spec));
  return spec;
}

}  // namespace npumoe
