// Phi-3, Phi-3.5 and Phi-3.5-MoE.
#include "model/chat/formats.h"
#include "model/chat/segments.h"

namespace npumoe {

ChatSegments RenderPhi3(const ChatRequest& request) {
  NPUMOE_RETURN_IF_ERROR(RefuseTools(request, "phi3"));
  SegmentWriter writer;
  for (const ChatMessage& message : request.messages) {
    const bool is_skipped = message.role == "system" && message.content.empty() &&
                            request.variant.style == kSkipsEmptySystem;
    if (is_skipped) continue;
    writer.Control("<|" + message.role + "|>\n");
    writer.Text(message.content);
    writer.Control("<|end|>\n");
  }
  if (request.options.add_generation_prompt) {
    writer.Control("<|assistant|>\n");
  } else {
    writer.Control(request.eos);
  }
  return writer.Take();
}

// The header of the reply stands behind every question, asked for or not.
ChatSegments RenderPhi3First(const ChatRequest& request) {
  NPUMOE_RETURN_IF_ERROR(RefuseTools(request, "phi3-first"));
  SegmentWriter writer;
  writer.Control(request.bos);
  for (const ChatMessage& message : request.messages) {
    if (message.role == "system") {
      return Unsupported(
          "the chat template 'phi3-first' has no place for system messages; leave them out or "
          "choose --chat-template phi3");
    }
    if (message.role == "user") writer.Control("<|user|>\n");
    writer.Text(message.content);
    writer.Control("<|end|>\n");
    if (message.role == "user") writer.Control("<|assistant|>\n");
  }
  return writer.Take();
}

}  // namespace npumoe
