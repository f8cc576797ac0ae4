// Qwen3's template in C++, and those of its successors of July 2025. Where it looks odd (a user
// turn that is a tool response does not end the tool steps; reasoning is dropped before the last
// real question) it follows the template.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/chat/formats.h"
#include "model/chat/qwen_parts.h"
#include "model/chat/segments.h"

namespace npumoe {
namespace {

std::string_view StripLeft(std::string_view text) {
  const size_t begin = text.find_first_not_of('\n');
  return begin == text.npos ? std::string_view() : text.substr(begin);
}

std::string_view StripRight(std::string_view text) {
  const size_t last = text.find_last_not_of('\n');
  return last == text.npos ? std::string_view() : text.substr(0, last + 1);
}

struct AssistantText {
  std::string_view reasoning;
  std::string_view content;
};

// Reasoning from its own field, or from a <think> block at the beginning of the content.
AssistantText SplitReasoning(const ChatMessage& message) {
  constexpr std::string_view kBegin = "<think>";
  constexpr std::string_view kEnd = "</think>";
  const std::string_view content = message.content;
  if (message.reasoning_content) return {*message.reasoning_content, content};
  const size_t first_end = content.find(kEnd);
  if (first_end == content.npos) return {"", content};
  std::string_view reasoning = StripRight(content.substr(0, first_end));
  if (const size_t begin = reasoning.rfind(kBegin); begin != reasoning.npos) {
    reasoning.remove_prefix(begin + kBegin.size());
  }
  return {StripLeft(reasoning), StripLeft(content.substr(content.rfind(kEnd) + kEnd.size()))};
}

bool IsToolResponse(const ChatMessage& message) {
  return message.content.starts_with("<tool_response>") &&
         message.content.ends_with("</tool_response>");
}

// Index of the last question of the user; behind it assistant turns keep their reasoning.
size_t LastQuery(const std::vector<ChatMessage>& messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role == "user" && !IsToolResponse(messages[i])) return i;
  }
  return messages.size() - 1;
}

// kHybrid thinks unless told not to; the others have no switch.
enum class Thinking { kHybrid, kAlways, kNever };

class Qwen3Writer {
 public:
  Qwen3Writer(const ChatRequest& request, Thinking thinking)
      : messages_(request.messages),
        options_(request.options),
        thinking_(thinking),
        last_query_(LastQuery(messages_)) {}

  ChatSegments Run();

 private:
  Status Header();
  Status Turn(size_t i);
  Status Assistant(size_t i);
  Status ToolCalls(size_t i, bool has_content);
  void GenerationPrompt();

  const std::vector<ChatMessage>& messages_;
  const ChatOptions& options_;
  Thinking thinking_;
  size_t last_query_;
  SegmentWriter writer_;
};

ChatSegments Qwen3Writer::Run() {
  NPUMOE_RETURN_IF_ERROR(Header());
  for (size_t i = 0; i < messages_.size(); ++i) NPUMOE_RETURN_IF_ERROR(Turn(i));
  if (options_.add_generation_prompt) GenerationPrompt();
  return writer_.Take();
}

void Qwen3Writer::GenerationPrompt() {
  writer_.Control("<|im_start|>assistant\n");
  if (thinking_ == Thinking::kAlways) writer_.Control("<think>\n");
  if (thinking_ == Thinking::kHybrid && options_.enable_thinking == false) {
    writer_.Control("<think>\n\n</think>\n\n");
  }
}

// The system turn: the first message if it is one, and the tools.
Status Qwen3Writer::Header() {
  const bool has_system = messages_[0].role == "system";
  NPUMOE_ASSIGN_OR_RETURN(const OrderedJson tools,
                          ParseTools(options_.tools_json, "field 'tools'"));
  if (tools.empty()) {
    if (has_system) WriteQwenTurn(messages_[0], &writer_);
    return OkStatus();
  }
  writer_.Control("<|im_start|>system\n");
  if (has_system) {
    writer_.Text(messages_[0].content);
    writer_.Control("\n\n");
  }
  WriteQwenTools(tools, &writer_);
  return OkStatus();
}

Status Qwen3Writer::Turn(size_t i) {
  const std::string& role = messages_[i].role;
  if (role == "assistant") return Assistant(i);
  if (role == "tool") {
    WriteQwenToolResponse(messages_, i, &writer_);
  } else if (role == "user" || i > 0) {  // the header has the first system turn
    WriteQwenTurn(messages_[i], &writer_);
  }
  return OkStatus();
}

Status Qwen3Writer::Assistant(size_t i) {
  const AssistantText text = thinking_ == Thinking::kNever ? AssistantText{"", messages_[i].content}
                                                           : SplitReasoning(messages_[i]);
  const bool is_last = i + 1 == messages_.size();
  writer_.Control("<|im_start|>assistant\n");
  const bool shows_reasoning = thinking_ != Thinking::kNever && i > last_query_;
  if (shows_reasoning && (is_last || !text.reasoning.empty())) {
    writer_.Control("<think>\n");
    writer_.Text(StripRight(StripLeft(text.reasoning)));
    writer_.Control("\n</think>\n\n");
    writer_.Text(StripLeft(text.content));
  } else {
    writer_.Text(text.content);
  }
  NPUMOE_RETURN_IF_ERROR(ToolCalls(i, !text.content.empty()));
  writer_.Control("<|im_end|>\n");
  return OkStatus();
}

Status Qwen3Writer::ToolCalls(size_t i, bool has_content) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<OrderedJson> calls, ReadQwenToolCalls(messages_, i));
  for (size_t call = 0; call < calls.size(); ++call) {
    if (call > 0 || has_content) writer_.Control("\n");
    WriteQwenToolCall(calls[call], TextArguments::kAsTheyAre, &writer_);
  }
  return OkStatus();
}

}  // namespace

ChatSegments RenderQwen3(const ChatRequest& request) {
  return Qwen3Writer(request, Thinking::kHybrid).Run();
}

ChatSegments RenderQwen3Thinking(const ChatRequest& request) {
  return Qwen3Writer(request, Thinking::kAlways).Run();
}

ChatSegments RenderQwen3Instruct(const ChatRequest& request) {
  return Qwen3Writer(request, Thinking::kNever).Run();
}

}  // namespace npumoe
