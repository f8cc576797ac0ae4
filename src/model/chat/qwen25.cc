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

// The system prompt is whatever the template prints both with and without tools.
std::optional<ChatVariant> RecogniseQwen25(const JinjaText& text) {
  const std::string introduction = "\n\n" + std::string(kQwenToolsIntroduction);
  const bool has_parts =
      text.HasLiterals({introduction, kQwenToolsClosing, "<|im_start|>system\n",
                        "\n<tool_call>\n{\"name\": \"", "\", \"arguments\": ", "}\n</tool_call>",
                        "\n<tool_response>\n", "<|im_start|>assistant\n"}) &&
      text.HasNames({"messages", "tools", "add_generation_prompt"}) && text.HasBlankOutside();
  if (!has_parts) return std::nullopt;
  ChatVariant variant;
  for (const std::string& literal : text.literals) {
    const std::string turn = "<|im_start|>system\n" + literal + "<|im_end|>\n";
    if (!literal.empty() && text.literals.contains(turn)) variant.default_system = literal;
  }
  const std::string turn = "<|im_start|>system\n" + variant.default_system + "<|im_end|>\n";
  const bool is_known =
      !variant.default_system.empty() && text.HasOnlyLiterals({introduction,
                                                               kQwenToolsClosing,
                                                               variant.default_system,
                                                               turn,
                                                               "",
                                                               "\n",
                                                               "<|im_start|>",
                                                               "<|im_start|>system\n",
                                                               "<|im_start|>user",
                                                               "<|im_start|>assistant\n",
                                                               "<|im_end|>",
                                                               "<|im_end|>\n",
                                                               "\n<tool_call>\n{\"name\": \"",
                                                               "\", \"arguments\": ",
                                                               "}\n</tool_call>",
                                                               "\n<tool_response>\n",
                                                               "\n</tool_response>",
                                                               "system",
                                                               "user",
                                                               "assistant",
                                                               "tool",
                                                               "role",
                                                               "content"});
  if (!is_known) return std::nullopt;
  return variant;
}

}  // namespace npumoe
