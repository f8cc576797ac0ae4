#include "model/chat_template.h"

#include <algorithm>

#include "base/check.h"
#include "model/chat/formats.h"
#include "model/chat/known_templates.h"
#include "model/tokenizer.h"
#include "model/tokenizer/utf8.h"

namespace npumoe {
namespace {

// Longest template text that is looked at; published ones stay below 20 KB.
constexpr size_t kMaxTemplateBytes = size_t{1} << 20;

const ChatFormat* FindFormat(std::string_view name) {
  for (const ChatFormat& format : ChatFormats()) {
    if (format.name == name) return &format;
  }
  return nullptr;
}

// Formats put texts together with JSON, so only whole characters may come from outside.
Status CheckText(const std::string& text, const std::string& name) {
  const std::optional<size_t> offset = FirstInvalidUtf8(text);
  if (!offset) return OkStatus();
  return InvalidInput(name + ": is not valid UTF-8 at byte " + std::to_string(*offset) +
                      "; convert it to UTF-8 first");
}

Status CheckTexts(const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = "messages[" + std::to_string(i) + "]: field '";
    NPUMOE_RETURN_IF_ERROR(CheckText(messages[i].content, where + "content'"));
    NPUMOE_RETURN_IF_ERROR(
        CheckText(messages[i].reasoning_content.value_or(""), where + "reasoning_content'"));
  }
  return CheckText(options.reasoning_effort, "field 'reasoning_effort'");
}

// Roles stand in control text, so only these may come from outside.
Status CheckRoles(const std::vector<ChatMessage>& messages) {
  if (messages.empty()) return InvalidInput("messages: at least one message is needed");
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role == "system" || role == "user" || role == "assistant" || role == "tool") continue;
    return InvalidInput("messages[" + std::to_string(i) + "]: field 'role': found '" + role +
                        "', allowed are system, user, assistant and tool");
  }
  return OkStatus();
}

void AddToken(const Tokenizer& tokenizer, std::string_view token, std::vector<int32_t>* ids) {
  const std::optional<int32_t> id = tokenizer.TokenId(token);
  if (id && std::ranges::find(*ids, *id) == ids->end()) ids->push_back(*id);
}

// What the template prints for bos_token and eos_token: the model's own, else the format's. A model
// may do without BOS; without the end of a reply no conversation is told apart, so that one is
// printed and its absence is found.
void ChooseTextEnds(const Tokenizer& tokenizer, const ChatFormat& format, ChatOptions* options) {
  if (!options->bos_token) {
    const bool has_own = !tokenizer.bos_token().empty() || !tokenizer.TokenId(format.bos);
    options->bos_token = has_own ? tokenizer.bos_token() : std::string(format.bos);
  }
  if (!options->eos_token) {
    const std::string& own = tokenizer.eos_token();
    options->eos_token = own.empty() ? std::string(format.eos) : own;
  }
}

int64_t CountOf(std::string_view part, std::string_view text) {
  int64_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

// Fails where a control token that the format writes came out as plain text: the format is that of
// another model.
Status CheckNeeded(const ChatFormat& format, const Tokenizer& tokenizer,
                   const std::vector<ChatSegment>& segments, const std::vector<int32_t>& ids) {
  std::string missing;
  for (const std::string_view token : format.needed) {
    int64_t written = 0;
    for (const ChatSegment& segment : segments) {
      if (segment.is_control) written += CountOf(token, segment.text);
    }
    const std::optional<int32_t> id = tokenizer.TokenId(token);
    if (written == 0 || (id && std::ranges::count(ids, *id) >= written)) continue;
    missing += (missing.empty() ? "'" : ", '") + std::string(token) + "'";
  }
  if (missing.empty()) return OkStatus();
  return Unsupported("the chat template '" + std::string(format.name) +
                     "' does not fit the model, whose tokenizer has no control tokens " + missing +
                     "; choose another with --chat-template (" + ChatTemplate::KnownNames() +
                     "), or complete the prompt as it stands with --no-chat-template");
}

}  // namespace

std::string ChatTemplate::KnownNames() {
  std::string names;
  for (const ChatFormat& format : ChatFormats()) {
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  }
  return names;
}

Result<ChatTemplate> ChatTemplate::Recognise(std::string_view jinja_source) {
  const KnownTemplate* known =
      jinja_source.size() <= kMaxTemplateBytes ? FindKnownTemplate(jinja_source) : nullptr;
  if (known != nullptr) {
    const ChatFormat* format = FindFormat(known->format);
    NPUMOE_CHECK(format != nullptr);
    return ChatTemplate(format, {known->style, std::string(known->default_system)});
  }
  return Unsupported("the model's chat template is none of the known ones (" + KnownNames() +
                     "); choose one of them with --chat-template NAME if it fits the model");
}

Result<ChatTemplate> ChatTemplate::ByName(std::string_view name) {
  const ChatFormat* format = FindFormat(name);
  if (format == nullptr) {
    return UsageError("--chat-template: '" + std::string(name) + "' is unknown, allowed are " +
                      KnownNames());
  }
  return ChatTemplate(format, {});
}

std::string ChatTemplate::name() const { return std::string(format_->name); }

std::vector<int32_t> ChatTemplate::EndTokens(const Tokenizer& tokenizer) const {
  std::vector<int32_t> ids;
  for (const std::string_view token : format_->ends) AddToken(tokenizer, token, &ids);
  if (!tokenizer.eos_token().empty()) AddToken(tokenizer, tokenizer.eos_token(), &ids);
  return ids;
}

Result<std::vector<ChatSegment>> ChatTemplate::Render(const std::vector<ChatMessage>& messages,
                                                      const ChatOptions& options) const {
  NPUMOE_RETURN_IF_ERROR(CheckRoles(messages));
  NPUMOE_RETURN_IF_ERROR(CheckTexts(messages, options));
  const std::string_view bos = options.bos_token ? *options.bos_token : format_->bos;
  const std::string_view eos = options.eos_token ? *options.eos_token : format_->eos;
  return format_->render({messages, options, variant_, bos, eos});
}

Result<std::string> ChatTemplate::RenderText(const std::vector<ChatMessage>& messages,
                                             const ChatOptions& options) const {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<ChatSegment> segments, Render(messages, options));
  std::string text;
  for (const ChatSegment& segment : segments) text += segment.text;
  return text;
}

// The whole text is encoded at once, so that pieces run across segments as in the reference; only
// which special tokens count depends on the segment.
Result<std::vector<int32_t>> ChatTemplate::Encode(const Tokenizer& tokenizer,
                                                  const std::vector<ChatMessage>& messages,
                                                  const ChatOptions& options) const {
  ChatOptions own = options;
  ChooseTextEnds(tokenizer, *format_, &own);
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<ChatSegment> segments, Render(messages, own));
  std::string text;
  std::vector<TextRange> control;
  for (const ChatSegment& segment : segments) {
    const size_t begin = text.size();
    text += segment.text;
    if (segment.is_control) control.push_back({begin, text.size()});
  }
  std::vector<int32_t> markers;
  for (const std::string_view token : format_->markers) AddToken(tokenizer, token, &markers);
  for (const std::string& token : {*own.bos_token, *own.eos_token}) {
    if (!token.empty()) AddToken(tokenizer, token, &markers);
  }
  NPUMOE_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                          tokenizer.EncodeWithControl(text, control, markers));
  NPUMOE_RETURN_IF_ERROR(CheckNeeded(*format_, tokenizer, segments, ids));
  return ids;
}

Result<ChatMessage> ChatTemplate::ReadReply(const Tokenizer& tokenizer,
                                            std::span<const int32_t> ids) const {
  const bool is_read = format_->read_reply != nullptr;
  // Models pad their vocabulary: an id that the tokenizer does not know stands for nothing.
  std::vector<int32_t> known(ids.begin(), ids.end());
  std::erase_if(known, [&](int32_t id) { return id < 0 || id >= tokenizer.vocab_size(); });
  NPUMOE_ASSIGN_OR_RETURN(
      const std::string text,
      tokenizer.Decode(known, is_read ? DecodeSpecial::kKeep : DecodeSpecial::kSkip));
  if (is_read) return format_->read_reply(text);
  return ChatMessage{.role = "assistant", .content = text};
}

}  // namespace npumoe
