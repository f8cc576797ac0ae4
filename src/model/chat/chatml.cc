#include <algorithm>
#include <array>

#include "model/chat/formats.h"
#include "model/chat/segments.h"

namespace npumoe {
namespace {

constexpr std::string_view kSystemBegin = "<|im_start|>system\n";
constexpr std::string_view kEnd = "<|im_end|>\n";

}  // namespace

// A tool's message is one as any other here, as in the templates.
ChatSegments RenderChatMl(const ChatRequest& request) {
  if (!request.options.tools_json.empty()) {
    return Unsupported(
        "the chat template 'chatml' has no place for tools; leave them out or choose another "
        "template with --chat-template");
  }
  SegmentWriter writer;
  if (!request.variant.default_system.empty() && !request.has_system()) {
    writer.Control(kSystemBegin);
    writer.Text(request.variant.default_system);
    writer.Control(kEnd);
  }
  for (const ChatMessage& message : request.messages) {
    if (!message.tool_calls_json.empty()) {
      return Unsupported("the chat template 'chatml' has no place for tool calls; leave them out");
    }
    writer.Control("<|im_start|>" + message.role + "\n");
    writer.Text(message.content);
    writer.Control(kEnd);
  }
  if (request.options.add_generation_prompt) writer.Control("<|im_start|>assistant\n");
  return writer.Take();
}

std::optional<std::string> DefaultSystemOfChatMl(const std::string& literal) {
  if (!literal.starts_with(kSystemBegin) || !literal.ends_with(kEnd)) return std::nullopt;
  if (literal.size() < kSystemBegin.size() + kEnd.size()) return std::nullopt;
  const std::string inner =
      literal.substr(kSystemBegin.size(), literal.size() - kSystemBegin.size() - kEnd.size());
  if (inner.empty() || inner.find("<|im_") != inner.npos) return std::nullopt;
  return inner;
}

// Nothing but roles, newlines and the two control tokens may be printed, and one system prompt
// for conversations without: a template with tools is another format.
std::optional<ChatVariant> RecogniseChatMl(const JinjaText& text) {
  constexpr std::array<std::string_view, 17> kAllowed = {"",
                                                         "\n",
                                                         "<|im_start|>",
                                                         "<|im_end|>",
                                                         "<|im_end|>\n",
                                                         "<|im_start|>assistant\n",
                                                         "role",
                                                         "system",
                                                         "user",
                                                         "assistant",
                                                         "content",
                                                         "<|im_start|>assistant",
                                                         "tool",
                                                         "<|im_start|>system\n",
                                                         "<|im_start|>user\n",
                                                         "\n<|im_start|>assistant\n",
                                                         "<|im_end|>\n<|im_start|>assistant\n"};
  ChatVariant variant;
  bool has_control = false;
  for (const std::string& literal : text.literals) {
    has_control |= literal.find("<|im_start|>") != literal.npos;
    if (std::ranges::find(kAllowed, literal) != kAllowed.end()) continue;
    const std::optional<std::string> system = DefaultSystemOfChatMl(literal);
    // It must be printed for the first message only, where that is not the system's.
    const bool is_conditional =
        text.code.find("if loop . first and messages [ 0 ] [ 'role' ] != 'system' %}") !=
        std::string::npos;
    if (!system || !is_conditional || !variant.default_system.empty()) return std::nullopt;
    variant.default_system = *system;
  }
  if (!has_control || !text.HasBlankOutside() || !text.names.contains("messages")) {
    return std::nullopt;
  }
  return variant;
}

}  // namespace npumoe
