// OLMoE and OLMo 2: the roles' headers are text and no tokens.
#include "model/chat/formats.h"
#include "model/chat/segments.h"

namespace npumoe {
namespace {

enum Style {
  kBareEnd = 0,  // of 2025: nothing behind the end of the last reply
  kLineEnd = 1   // of 2024: a line feed
};

}  // namespace

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

std::optional<ChatVariant> RecogniseOlmoe(const JinjaText& text) {
  const bool is_known =
      text.HasLiterals({"<|system|>\n", "<|user|>\n", "<|assistant|>\n"}) &&
      text.HasNames({"messages", "bos_token", "eos_token", "add_generation_prompt"}) &&
      text.HasBlankOutside();
  if (!is_known) return std::nullopt;
  if (text.HasLiterals({"\n"}) && text.outside.empty() && text.HasCode("not loop . last") &&
      text.HasOnlyLiterals({"<|system|>\n", "<|user|>\n", "<|assistant|>\n", "\n", "role",
                            "content", "system", "user", "assistant"})) {
    return ChatVariant{.style = kBareEnd, .default_system = {}};
  }
  // Here the line feeds stand between the tags.
  if (text.HasLiterals({"<|assistant|>"}) && text.outside == "\n\n\n\n" &&
      text.HasOnlyLiterals({"<|system|>\n", "<|user|>\n", "<|assistant|>\n", "<|assistant|>",
                            "role", "content", "system", "user", "assistant"})) {
    return ChatVariant{.style = kLineEnd, .default_system = {}};
  }
  return std::nullopt;
}

}  // namespace npumoe
