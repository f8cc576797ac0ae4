// OLMoE and OLMo 2: the roles' headers are text and no tokens.
#include "model/chat/formats.h"
#include "model/chat/segments.h"

namespace npumoe {

ChatSegments RenderOlmoe(const ChatRequest& request) {
  NPUMOE_RETURN_IF_ERROR(RefuseTools(request, "olmoe"));
  SegmentWriter writer;
  writer.Control(request.bos);
  for (size_t i = 0; i < request.messages.size(); ++i) {
    const ChatMessage& message = request.messages[i];
    const bool is_reply = message.role == "assistant";
    const bool is_last = i + 1 == request.messages.size();
    writer.Control("<|" + message.role + "|>\n");
    writer.Text(message.content);
    if (is_reply) writer.Control(request.eos);
    if (!is_reply || !is_last || request.variant.style == kLineEnd) writer.Control("\n");
  }
  if (request.options.add_generation_prompt) writer.Control("<|assistant|>\n");
  return writer.Take();
}

}  // namespace npumoe
