#include "model/chat/qwen_parts.h"

#include <nlohmann/json.hpp>

namespace npumoe {

const std::string_view kQwenToolsIntroduction =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
const std::string_view kQwenToolsClosing =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
    "\"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n";

void WriteQwenTurn(const ChatMessage& message, SegmentWriter* writer) {
  writer->Control("<|im_start|>" + message.role + "\n");
  writer->Text(message.content);
  writer->Control("<|im_end|>\n");
}

void WriteQwenTools(const OrderedJson& tools, SegmentWriter* writer) {
  writer->Control(kQwenToolsIntroduction);
  for (const OrderedJson& tool : tools) {
    writer->Control("\n");
    writer->Text(PythonJson(tool));
  }
  writer->Control(kQwenToolsClosing);
}

void WriteQwenToolResponse(const std::vector<ChatMessage>& messages, size_t i,
                           SegmentWriter* writer) {
  const bool is_first = i == 0 || messages[i - 1].role != "tool";
  const bool is_last = i + 1 == messages.size() || messages[i + 1].role != "tool";
  if (is_first) writer->Control("<|im_start|>user");
  writer->Control("\n<tool_response>\n");
  writer->Text(messages[i].content);
  writer->Control("\n</tool_response>");
  if (is_last) writer->Control("<|im_end|>\n");
}

namespace {

// The call itself, which may stand in a "function" member.
Result<OrderedJson> CheckCall(const OrderedJson& entry, const std::string& where) {
  if (!entry.is_object()) return InvalidInput(where + ": an object is needed");
  const OrderedJson* function = Member(entry, "function");
  const bool is_wrapped = function != nullptr && function->is_object() && !function->empty();
  const OrderedJson& call = is_wrapped ? *function : entry;
  const OrderedJson* name = Member(call, "name");
  if (name == nullptr || !name->is_string()) {
    return InvalidInput(where + ": field 'name': a string is needed");
  }
  if (Member(call, "arguments") == nullptr) {
    return InvalidInput(where + ": field 'arguments': an object or its text is needed");
  }
  return call;
}

}  // namespace

Result<std::vector<OrderedJson>> ReadQwenToolCalls(const std::vector<ChatMessage>& messages,
                                                   size_t i) {
  std::vector<OrderedJson> checked;
  if (messages[i].tool_calls_json.empty()) return checked;
  const std::string where = "messages[" + std::to_string(i) + "].tool_calls";
  NPUMOE_ASSIGN_OR_RETURN(const OrderedJson calls,
                          ParseOrderedJson(messages[i].tool_calls_json, where));
  if (!calls.is_array()) return InvalidInput(where + ": a list of calls is needed");
  for (size_t at = 0; at < calls.size(); ++at) {
    NPUMOE_ASSIGN_OR_RETURN(OrderedJson call,
                            CheckCall(calls[at], where + "[" + std::to_string(at) + "]"));
    checked.push_back(std::move(call));
  }
  return checked;
}

void WriteQwenToolCall(const OrderedJson& call, TextArguments text_arguments,
                       SegmentWriter* writer) {
  const OrderedJson& arguments = *Member(call, "arguments");
  const bool is_plain = arguments.is_string() && text_arguments == TextArguments::kAsTheyAre;
  writer->Control("<tool_call>\n{\"name\": \"");
  writer->Text(Member(call, "name")->get_ref<const std::string&>());
  writer->Control("\", \"arguments\": ");
  writer->Text(is_plain ? arguments.get_ref<const std::string&>() : PythonJson(arguments));
  writer->Control("}\n</tool_call>");
}

}  // namespace npumoe
