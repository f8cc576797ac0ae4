#include "model/chat_template.h"

#include <algorithm>

#include "model/chat/formats.h"
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

// What a template prints for bos_token: the model's own, else the format's where the model has it.
std::string TokenText(const Tokenizer& tokenizer, const std::string& own,
                      std::string_view of_format) {
  if (!own.empty()) return own;
  return tokenizer.TokenId(of_format) ? std::string(of_format) : std::string();
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
  if (jinja_source.size() <= kMaxTemplateBytes) {
    const JinjaText text = ReadJinjaText(jinja_source);
    for (const ChatFormat& format : ChatFormats()) {
      if (auto variant = format.recognise(text)) return ChatTemplate(&format, *std::move(variant));
    }
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
  if (!own.bos_token) own.bos_token = TokenText(tokenizer, tokenizer.bos_token(), format_->bos);
  if (!own.eos_token) own.eos_token = TokenText(tokenizer, tokenizer.eos_token(), format_->eos);
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
  return tokenizer.EncodeWithControl(text, control, markers);
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
