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
  const bool continues = request.variant.style == kContinuesTheLast;
  const bool asks = request.options.add_generation_prompt;
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
    const bool is_open = continues && &message == &request.messages.back() && !asks;
    if (!is_open) writer.Control(kEnd);
  }
  const bool follows_reply = continues && request.messages.back().role == "assistant";
  if (asks && !follows_reply) writer.Control("<|im_start|>assistant\n");
  return writer.Take();
}

}  // namespace npumoe
