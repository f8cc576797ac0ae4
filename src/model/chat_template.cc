#include "model/chat_template.h"

#include <array>

#include "model/chat/formats.h"
#include "model/tokenizer.h"

namespace npumoe {
namespace {

struct ChatFormat {
  std::string_view name;
  Result<std::vector<ChatSegment>> (*render)(const std::vector<ChatMessage>&, const ChatOptions&);
  bool (*recognises)(const JinjaText&);
};

constexpr std::array<ChatFormat, 2> kFormats = {{
    {"chatml", RenderChatMl, IsChatMl},
    {"qwen3", RenderQwen3, IsQwen3},
}};

// Longest template text that is looked at; published ones stay below 20 KB.
constexpr size_t kMaxTemplateBytes = size_t{1} << 20;

std::string KnownNames() {
  std::string names;
  for (const ChatFormat& format : kFormats) {
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  }
  return names;
}

const ChatFormat* FindFormat(std::string_view name) {
  for (const ChatFormat& format : kFormats) {
    if (format.name == name) return &format;
  }
  return nullptr;
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

}  // namespace

Result<ChatTemplate> ChatTemplate::Recognise(std::string_view jinja_source) {
  if (jinja_source.size() <= kMaxTemplateBytes) {
    const JinjaText text = ReadJinjaText(jinja_source);
    for (const ChatFormat& format : kFormats) {
      if (format.recognises(text)) return ChatTemplate(std::string(format.name));
    }
  }
  return Unsupported("the model's chat template is none of the known ones (" + KnownNames() +
                     "); choose one of them with --chat-template if it fits the model");
}

Result<ChatTemplate> ChatTemplate::ByName(std::string_view name) {
  if (FindFormat(name) == nullptr) {
    return UsageError("--chat-template: '" + std::string(name) + "' is unknown, allowed are " +
                      KnownNames());
  }
  return ChatTemplate(std::string(name));
}

Result<std::vector<ChatSegment>> ChatTemplate::Render(const std::vector<ChatMessage>& messages,
                                                      const ChatOptions& options) const {
  NPUMOE_RETURN_IF_ERROR(CheckRoles(messages));
  return FindFormat(name_)->render(messages, options);
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
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<ChatSegment> segments, Render(messages, options));
  std::string text;
  std::vector<TextRange> control;
  for (const ChatSegment& segment : segments) {
    const size_t begin = text.size();
    text += segment.text;
    if (segment.is_control) control.push_back({begin, text.size()});
  }
  return tokenizer.EncodeWithControl(text, control);
}

}  // namespace npumoe
