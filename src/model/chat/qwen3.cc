// Qwen3's template in C++. Where it looks odd (a user turn that is a tool response does not end
// the tool steps; reasoning is dropped before the last real question) it follows the template.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "model/chat/formats.h"
#include "model/chat/python_json.h"
#include "model/chat/segments.h"

namespace npumoe {
namespace {

constexpr std::string_view kToolsIntroduction =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
constexpr std::string_view kToolsClosing =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
    "\"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n";

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

class Qwen3Writer {
 public:
  Qwen3Writer(const std::vector<ChatMessage>& messages, const ChatOptions& options)
      : messages_(messages), options_(options), last_query_(LastQuery(messages)) {}

  Result<std::vector<ChatSegment>> Run();

 private:
  Status Header();
  Status Turn(size_t i);
  void Plain(const ChatMessage& message);
  Status Assistant(size_t i);
  Status ToolCalls(size_t i, bool has_content);
  Status ToolCall(const OrderedJson& entry, const std::string& where);
  void ToolResponse(size_t i);

  const std::vector<ChatMessage>& messages_;
  const ChatOptions& options_;
  size_t last_query_;
  SegmentWriter writer_;
};

Result<std::vector<ChatSegment>> Qwen3Writer::Run() {
  NPUMOE_RETURN_IF_ERROR(Header());
  for (size_t i = 0; i < messages_.size(); ++i) NPUMOE_RETURN_IF_ERROR(Turn(i));
  if (options_.add_generation_prompt) {
    writer_.Control("<|im_start|>assistant\n");
    if (options_.enable_thinking == false) writer_.Control("<think>\n\n</think>\n\n");
  }
  return writer_.Take();
}

// The system turn: the first message if it is one, and the tools.
Status Qwen3Writer::Header() {
  const bool has_system = messages_[0].role == "system";
  OrderedJson tools = OrderedJson::array();
  if (!options_.tools_json.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(tools, ParseOrderedJson(options_.tools_json, "field 'tools'"));
    if (!tools.is_array()) return InvalidInput("field 'tools': a list of tools is needed");
  }
  if (tools.empty()) {
    if (has_system) Plain(messages_[0]);
    return OkStatus();
  }
  writer_.Control("<|im_start|>system\n");
  if (has_system) {
    writer_.Text(messages_[0].content);
    writer_.Control("\n\n");
  }
  writer_.Control(kToolsIntroduction);
  for (const OrderedJson& tool : tools) {
    writer_.Control("\n");
    writer_.Text(PythonJson(tool));
  }
  writer_.Control(kToolsClosing);
  return OkStatus();
}

Status Qwen3Writer::Turn(size_t i) {
  const std::string& role = messages_[i].role;
  if (role == "assistant") return Assistant(i);
  if (role == "tool") {
    ToolResponse(i);
  } else if (role == "user" || i > 0) {  // the header has the first system turn
    Plain(messages_[i]);
  }
  return OkStatus();
}

void Qwen3Writer::Plain(const ChatMessage& message) {
  writer_.Control("<|im_start|>" + message.role + "\n");
  writer_.Text(message.content);
  writer_.Control("<|im_end|>\n");
}

Status Qwen3Writer::Assistant(size_t i) {
  const AssistantText text = SplitReasoning(messages_[i]);
  const bool is_last = i + 1 == messages_.size();
  writer_.Control("<|im_start|>assistant\n");
  if (i > last_query_ && (is_last || !text.reasoning.empty())) {
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
  if (messages_[i].tool_calls_json.empty()) return OkStatus();
  const std::string where = "messages[" + std::to_string(i) + "].tool_calls";
  NPUMOE_ASSIGN_OR_RETURN(const OrderedJson calls,
                          ParseOrderedJson(messages_[i].tool_calls_json, where));
  if (!calls.is_array()) return InvalidInput(where + ": a list of calls is needed");
  for (size_t call = 0; call < calls.size(); ++call) {
    if (call > 0 || has_content) writer_.Control("\n");
    NPUMOE_RETURN_IF_ERROR(ToolCall(calls[call], where + "[" + std::to_string(call) + "]"));
  }
  return OkStatus();
}

Status Qwen3Writer::ToolCall(const OrderedJson& entry, const std::string& where) {
  if (!entry.is_object()) return InvalidInput(where + ": an object is needed");
  const auto function = entry.find("function");
  const bool is_wrapped = function != entry.end() && function->is_object() && !function->empty();
  const OrderedJson& call = is_wrapped ? *function : entry;
  const auto name = call.find("name");
  if (name == call.end() || !name->is_string()) {
    return InvalidInput(where + ": field 'name': a string is needed");
  }
  const auto arguments = call.find("arguments");
  if (arguments == call.end()) {
    return InvalidInput(where + ": field 'arguments': an object or its text is needed");
  }
  writer_.Control("<tool_call>\n{\"name\": \"");
  writer_.Text(name->get_ref<const std::string&>());
  writer_.Control("\", \"arguments\": ");
  writer_.Text(arguments->is_string() ? arguments->get_ref<const std::string&>()
                                      : PythonJson(*arguments));
  writer_.Control("}\n</tool_call>");
  return OkStatus();
}

// Tool responses that follow each other share one user turn.
void Qwen3Writer::ToolResponse(size_t i) {
  const bool is_first = i == 0 || messages_[i - 1].role != "tool";
  const bool is_last = i + 1 == messages_.size() || messages_[i + 1].role != "tool";
  if (is_first) writer_.Control("<|im_start|>user");
  writer_.Control("\n<tool_response>\n");
  writer_.Text(messages_[i].content);
  writer_.Control("\n</tool_response>");
  if (is_last) writer_.Control("<|im_end|>\n");
}

}  // namespace

Result<std::vector<ChatSegment>> RenderQwen3(const std::vector<ChatMessage>& messages,
                                             const ChatOptions& options) {
  return Qwen3Writer(messages, options).Run();
}

bool IsQwen3(const JinjaText& text) {
  const std::array<std::string, 10> printed = {
      "<|im_start|>system\n",     std::string(kToolsIntroduction),
      std::string(kToolsClosing), "\n<think>\n",
      "\n</think>\n\n",           "<tool_call>\n{\"name\": \"",
      "\n<tool_response>\n",      "}\n</tool_call>",
      "<|im_start|>assistant\n",  "<think>\n\n</think>\n\n"};
  // What else the template compares with or glues together.
  const std::array<std::string, 20> others = {"",
                                              "\n",
                                              "\n\n",
                                              "<|im_start|>",
                                              "<|im_end|>",
                                              "<|im_end|>\n",
                                              "system",
                                              "user",
                                              "assistant",
                                              "tool",
                                              "<tool_response>",
                                              "</tool_response>",
                                              "<think>",
                                              "</think>",
                                              "<|im_start|>user",
                                              "\n</tool_response>",
                                              "\", \"arguments\": ",
                                              "role",
                                              "content",
                                              "tool_calls"};
  const auto is_known = [&](const std::string& literal) {
    return std::ranges::find(printed, literal) != printed.end() ||
           std::ranges::find(others, literal) != others.end();
  };
  const auto is_present = [&](const std::string& literal) {
    return text.literals.contains(literal);
  };
  return std::ranges::all_of(printed, is_present) && std::ranges::all_of(text.literals, is_known) &&
         text.outside.find_first_not_of(" \n") == std::string::npos &&
         text.names.contains("enable_thinking") && text.names.contains("reasoning_content") &&
         text.names.contains("last_query_index");
}

}  // namespace npumoe
