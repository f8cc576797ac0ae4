// Qwen2.5's template in C++: its own system prompt where the conversation has none, and tools.
#include <nlohmann/json.hpp>

#include "model/chat/formats.h"
#include "model/chat/qwen_parts.h"

namespace npumoe {
namespace {

constexpr char kDefaultSystem[] =
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";

Status WriteAssistant(const ChatRequest& request, size_t i, SegmentWriter* writer) {
  const ChatMessage& message = request.messages[i];
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<OrderedJson> calls,
                          ReadQwenToolCalls(request.messages, i));
  if (calls.empty()) {
    WriteQwenTurn(message, writer);
    return OkStatus();
  }
  writer->Control("<|im_start|>assistant");
  if (!message.content.empty()) {
    writer->Control("\n");
    writer->Text(message.content);
  }
  for (const OrderedJson& call : calls) {
    writer->Control("\n");
    WriteQwenToolCall(call, TextArguments::kQuoted, writer);
  }
  writer->Control("<|im_end|>\n");
  return OkStatus();
}

}  // namespace

ChatSegments RenderQwen25(const ChatRequest& request) {
  NPUMOE_ASSIGN_OR_RETURN(const OrderedJson tools,
                          ParseTools(request.options.tools_json, "field 'tools'"));
  const std::string& own = request.variant.default_system;
  SegmentWriter writer;
  writer.Control("<|im_start|>system\n");
  writer.Text(request.has_system() ? request.first().content
              : own.empty()        ? std::string_view(kDefaultSystem)
                                   : std::string_view(own));
  if (tools.empty()) {
    writer.Control("<|im_end|>\n");
  } else {
    writer.Control("\n\n");
    WriteQwenTools(tools, &writer);
  }
  for (size_t i = request.has_system() ? 1 : 0; i < request.messages.size(); ++i) {
    const ChatMessage& message = request.messages[i];
    if (message.role == "assistant") {
      NPUMOE_RETURN_IF_ERROR(WriteAssistant(request, i, &writer));
    } else if (message.role == "tool") {
      WriteQwenToolResponse(request.messages, i, &writer);
    } else {
      WriteQwenTurn(message, &writer);
    }
  }
  if (request.options.add_generation_prompt) writer.Control("<|im_start|>assistant\n");
  return writer.Take();
}

}  // namespace npumoe
