// DeepSeek-V2, whose roles are text, and V2.5, whose roles are tokens.
#include <string>

#include "model/chat/formats.h"
#include "model/chat/segments.h"

namespace npumoe {

ChatSegments RenderDeepSeekV2(const ChatRequest& request) {
  NPUMOE_RETURN_IF_ERROR(RefuseTools(request, "deepseek-v2"));
  SegmentWriter writer;
  writer.Control(request.bos);
  for (const ChatMessage& message : request.messages) {
    if (message.role == "user") writer.Control("User: ");
    if (message.role == "assistant") writer.Control("Assistant: ");
    writer.Text(message.content);
    writer.Control(message.role == "assistant" ? request.eos : "\n\n");
  }
  if (request.options.add_generation_prompt) writer.Control("Assistant:");
  return writer.Take();
}

// The system prompt is that of the last system message, and stands first. Before all, the template
// prints its own indentation once for each: `style` is how many spaces that is.
ChatSegments RenderDeepSeekV25(const ChatRequest& request) {
  NPUMOE_RETURN_IF_ERROR(RefuseTools(request, "deepseek-v2.5"));
  const std::string indentation(static_cast<size_t>(request.variant.style), ' ');
  SegmentWriter writer;
  std::string_view system;
  for (const ChatMessage& message : request.messages) {
    if (message.role != "system") continue;
    writer.Control(indentation);
    system = message.content;
  }
  writer.Control(request.bos);
  writer.Text(system);
  for (const ChatMessage& message : request.messages) {
    if (message.role == "system") continue;
    const bool is_question = message.role == "user";
    writer.Control(is_question ? "<｜User｜>" : "<｜Assistant｜>");
    writer.Text(message.content);
    if (!is_question) writer.Control("<｜end▁of▁sentence｜>");
  }
  if (request.options.add_generation_prompt) writer.Control("<｜Assistant｜>");
  return writer.Take();
}

}  // namespace npumoe
