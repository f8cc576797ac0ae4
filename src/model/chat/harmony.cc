// gpt-oss's template in C++. Where it looks odd (reasoning is dropped once a final reply follows,
// the first tool call counts only) it follows the template.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/chat/dates.h"
#include "model/chat/formats.h"
#include "model/chat/harmony_types.h"
#include "model/chat/python_json.h"
#include "model/chat/segments.h"

namespace npumoe {
namespace {

constexpr std::string_view kAnalysis = "<|start|>assistant<|channel|>analysis<|message|>";
constexpr std::string_view kFinal = "<|start|>assistant<|channel|>final<|message|>";
constexpr std::string_view kEnd = "<|end|>";
constexpr char kChannels[] =
    "# Valid channels: analysis, commentary, final. Channel must be included for every message.";
constexpr char kToolChannel[] =
    "\nCalls to these tools must go to the commentary channel: 'functions'.";
constexpr char kIdentity[] = "You are ChatGPT, a large language model trained by OpenAI.";

class HarmonyWriter {
 public:
  explicit HarmonyWriter(const ChatRequest& request)
      : messages_(request.messages),
        options_(request.options),
        begin_(request.has_system() ? 1 : 0) {}

  ChatSegments Run();

 private:
  void System(bool has_tools);
  Status Developer(const OrderedJson& tools);
  Status Turn(size_t i);
  Status Assistant(size_t i);
  Status ToolCall(size_t i);
  Status ToolAnswer(size_t i);
  Status CheckChannels(size_t i) const;
  bool HasLaterReply(size_t i) const;

  const std::vector<ChatMessage>& messages_;
  const ChatOptions& options_;
  size_t begin_;                       // of the turns, behind the developer's message
  std::optional<std::string> called_;  // name of the last call
  SegmentWriter writer_;
};

ChatSegments HarmonyWriter::Run() {
  NPUMOE_ASSIGN_OR_RETURN(const OrderedJson tools,
                          ParseTools(options_.tools_json, "field 'tools'"));
  System(!tools.empty());
  NPUMOE_RETURN_IF_ERROR(Developer(tools));
  for (size_t i = begin_; i < messages_.size(); ++i) NPUMOE_RETURN_IF_ERROR(Turn(i));
  if (options_.add_generation_prompt) writer_.Control("<|start|>assistant");
  return writer_.Take();
}

void HarmonyWriter::System(bool has_tools) {
  writer_.Control("<|start|>system<|message|>" + std::string(kIdentity) +
                  "\nKnowledge cutoff: 2024-06\nCurrent date: " + IsoDate(Today(options_)) +
                  "\n\nReasoning: ");
  writer_.Text(options_.reasoning_effort.empty() ? "medium" : options_.reasoning_effort);
  writer_.Control("\n\n" + std::string(kChannels) + (has_tools ? kToolChannel : ""));
  writer_.Control(kEnd);
}

// What others call the system message goes here.
Status HarmonyWriter::Developer(const OrderedJson& tools) {
  const std::string instructions = begin_ > 0 ? messages_[0].content : std::string();
  if (instructions.empty() && tools.empty()) return OkStatus();
  writer_.Control("<|start|>developer<|message|>");
  if (!instructions.empty()) {
    writer_.Control("# Instructions\n\n");
    writer_.Text(instructions);
    writer_.Control("\n\n");
  }
  if (!tools.empty()) {
    writer_.Control("# Tools\n\n");
    NPUMOE_ASSIGN_OR_RETURN(const std::string declarations, HarmonyToolNamespace(tools));
    writer_.Text(declarations);
  }
  writer_.Control(kEnd);
  return OkStatus();
}

Status HarmonyWriter::Turn(size_t i) {
  const std::string& role = messages_[i].role;
  if (role == "assistant") return Assistant(i);
  if (role == "tool") return ToolAnswer(i);
  if (role == "system") {
    return InvalidInput("messages[" + std::to_string(i) +
                        "]: field 'role': the chat template 'gpt-oss' takes one system message, "
                        "at the beginning");
  }
  writer_.Control("<|start|>user<|message|>");
  writer_.Text(messages_[i].content);
  writer_.Control(kEnd);
  return OkStatus();
}

// Replies that still have their channels would be rendered twice over.
Status HarmonyWriter::CheckChannels(size_t i) const {
  for (const std::string& text :
       {messages_[i].content, messages_[i].reasoning_content.value_or("")}) {
    for (const char* channel : {"analysis", "final"}) {
      const std::string mark = "<|channel|>" + std::string(channel) + "<|message|>";
      if (text.find(mark) == text.npos) continue;
      return InvalidInput("messages[" + std::to_string(i) + "]: the text has '" + mark +
                          "'; pass reasoning as 'reasoning_content' and the final text as "
                          "'content', without channels");
    }
  }
  return OkStatus();
}

Status HarmonyWriter::Assistant(size_t i) {
  const ChatMessage& message = messages_[i];
  NPUMOE_RETURN_IF_ERROR(CheckChannels(i));
  if (!message.tool_calls_json.empty()) return ToolCall(i);
  const bool is_sample = i + 1 == messages_.size() && !options_.add_generation_prompt;
  if (is_sample && message.reasoning_content) {
    writer_.Control(kAnalysis);
    writer_.Text(*message.reasoning_content);
    writer_.Control(kEnd);
  }
  writer_.Control(kFinal);
  writer_.Text(message.content);
  writer_.Control(is_sample ? "<|return|>" : kEnd);
  if (!is_sample) called_.reset();
  return OkStatus();
}

bool HarmonyWriter::HasLaterReply(size_t i) const {
  return std::any_of(messages_.begin() + static_cast<std::ptrdiff_t>(i) + 1, messages_.end(),
                     [](const ChatMessage& message) {
                       return message.role == "assistant" && message.tool_calls_json.empty();
                     });
}

Status HarmonyWriter::ToolCall(size_t i) {
  const ChatMessage& message = messages_[i];
  const std::string where = "messages[" + std::to_string(i) + "].tool_calls";
  NPUMOE_ASSIGN_OR_RETURN(const OrderedJson calls,
                          ParseOrderedJson(message.tool_calls_json, where));
  if (!calls.is_array() || calls.empty()) {
    return InvalidInput(where + ": a list with one call is needed");
  }
  const OrderedJson* function = Member(calls[0], "function");
  const OrderedJson& call = IsTrueInPython(function) ? *function : calls[0];
  const OrderedJson* name = Member(call, "name");
  const OrderedJson* arguments = Member(call, "arguments");
  if (name == nullptr || !name->is_string() || arguments == nullptr) {
    return InvalidInput(where + "[0]: fields 'name' (a string) and 'arguments' are needed");
  }
  const std::string reasoning = message.reasoning_content.value_or("");
  if (!message.content.empty() && !reasoning.empty()) {
    return InvalidInput("messages[" + std::to_string(i) +
                        "]: a message with tool calls has content or reasoning, not both");
  }
  if (!(message.content + reasoning).empty() && !HasLaterReply(i)) {
    writer_.Control(kAnalysis);
    writer_.Text(message.content + reasoning);
    writer_.Control(kEnd);
  }
  const OrderedJson* content_type = Member(call, "content_type");
  writer_.Control("<|start|>assistant to=functions.");
  writer_.Text(name->get_ref<const std::string&>());
  writer_.Control("<|channel|>commentary ");
  writer_.Text(content_type != nullptr && content_type->is_string()
                   ? content_type->get_ref<const std::string&>()
                   : "json");
  writer_.Control("<|message|>");
  writer_.Text(PythonJson(*arguments));
  writer_.Control("<|call|>");
  called_ = name->get<std::string>();
  return OkStatus();
}

Status HarmonyWriter::ToolAnswer(size_t i) {
  if (!called_) {
    return InvalidInput("messages[" + std::to_string(i) +
                        "]: the answer of a tool needs a tool call of the assistant before it");
  }
  writer_.Control("<|start|>functions.");
  writer_.Text(*called_);
  writer_.Control(" to=assistant<|channel|>commentary<|message|>");
  writer_.Text(PythonJson(OrderedJson(messages_[i].content)));
  writer_.Control(kEnd);
  return OkStatus();
}

}  // namespace

ChatSegments RenderHarmony(const ChatRequest& request) { return HarmonyWriter(request).Run(); }

}  // namespace npumoe
