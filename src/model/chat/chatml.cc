#include <algorithm>
#include <array>

#include "model/chat/formats.h"
#include "model/chat/segments.h"

namespace npumoe {

Result<std::vector<ChatSegment>> RenderChatMl(const std::vector<ChatMessage>& messages,
                                              const ChatOptions& options) {
  if (!options.tools_json.empty()) {
    return Unsupported(
        "the chat template 'chatml' has no place for tools; leave them out or choose another "
        "template with --chat-template");
  }
  SegmentWriter writer;
  for (const ChatMessage& message : messages) {
    if (!message.tool_calls_json.empty()) {
      return Unsupported("the chat template 'chatml' has no place for tool calls; leave them out");
    }
    writer.Control("<|im_start|>" + message.role + "\n");
    writer.Text(message.content);
    writer.Control("<|im_end|>\n");
  }
  if (options.add_generation_prompt) writer.Control("<|im_start|>assistant\n");
  return writer.Take();
}

// Nothing but roles, newlines and the two control tokens may be printed: a template with a system
// prompt of its own, or with tools, is another format.
bool IsChatMl(const JinjaText& text) {
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
  const auto is_allowed = [&](const std::string& literal) {
    return std::ranges::find(kAllowed, literal) != kAllowed.end();
  };
  const bool has_control = std::ranges::any_of(text.literals, [](const std::string& literal) {
    return literal.find("<|im_start|>") != literal.npos;
  });
  return has_control && text.outside.find_first_not_of(" \n") == std::string::npos &&
         text.names.contains("messages") && std::ranges::all_of(text.literals, is_allowed);
}

}  // namespace npumoe
