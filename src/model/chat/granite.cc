// Granite 3.0 and 3.1.
#include <nlohmann/json.hpp>

#include "model/chat/dates.h"
#include "model/chat/formats.h"
#include "model/chat/python_json.h"
#include "model/chat/segments.h"

namespace npumoe {
namespace {

constexpr std::string_view kEnd = "<|end_of_text|>\n";
constexpr std::string_view kReply = "<|start_of_role|>assistant<|end_of_role|>";

constexpr char kCutoff[] = "Knowledge Cutoff Date: April 2024.\nToday's Date: ";
constexpr char kIdentity[] = ".\nYou are Granite, developed by IBM.";
constexpr char kWithTools[] =
    " You are a helpful AI assistant with access to the following tools. When a tool is required "
    "to answer the user's query, respond with <|tool_call|> followed by a JSON list of tools used. "
    "If a tool does not exist in the provided list of tools, notify the user that you do not have "
    "the ability to fulfill the request.";
constexpr char kPlain[] = " You are a helpful AI assistant.";

Status RefuseToolCalls(const ChatRequest& request, const std::string& name) {
  for (const ChatMessage& message : request.messages) {
    if (message.tool_calls_json.empty()) continue;
    return Unsupported("the chat template '" + name +
                       "' has no place for tool calls; write them into the content");
  }
  return OkStatus();
}

void WriteTurn(const ChatMessage& message, SegmentWriter* writer) {
  writer->Control("<|start_of_role|>" + message.role + "<|end_of_role|>");
  writer->Text(message.content);
  writer->Control(kEnd);
}

}  // namespace

ChatSegments RenderGranite(const ChatRequest& request) {
  NPUMOE_RETURN_IF_ERROR(RefuseToolCalls(request, "granite"));
  NPUMOE_ASSIGN_OR_RETURN(const OrderedJson tools,
                          ParseTools(request.options.tools_json, "field 'tools'"));
  SegmentWriter writer;
  if (!tools.empty()) {
    writer.Control("<|start_of_role|>available_tools<|end_of_role|>\n");
    for (size_t i = 0; i < tools.size(); ++i) {
      if (i > 0) writer.Control("\n\n");
      writer.Text(PythonJsonIndented(tools[i]));
    }
    writer.Control(kEnd);
  }
  for (const ChatMessage& message : request.messages) {
    if (message.role == "tool") {
      return Unsupported(
          "the chat template 'granite' has no place for messages of tools; leave them out");
    }
    WriteTurn(message, &writer);
  }
  if (request.options.add_generation_prompt) writer.Control(kReply);
  return writer.Take();
}

ChatSegments RenderGranite31(const ChatRequest& request) {
  NPUMOE_RETURN_IF_ERROR(RefuseToolCalls(request, "granite-3.1"));
  NPUMOE_ASSIGN_OR_RETURN(const OrderedJson tools,
                          ParseTools(request.options.tools_json, "field 'tools'"));
  SegmentWriter writer;
  writer.Control("<|start_of_role|>system<|end_of_role|>");
  if (request.has_system()) {
    writer.Text(request.first().content);
  } else {
    writer.Control(kCutoff + LongDate(Today(request.options)) + kIdentity);
    writer.Control(tools.empty() ? kPlain : kWithTools);
  }
  writer.Control(kEnd);
  if (!tools.empty()) {
    writer.Control("<|start_of_role|>tools<|end_of_role|>");
    writer.Text(PythonJsonIndented(tools));
    writer.Control(kEnd);
  }
  for (size_t i = request.has_system() ? 1 : 0; i < request.messages.size(); ++i) {
    WriteTurn(request.messages[i], &writer);
  }
  // The template asks for a reply at the last message behind the system's.
  const bool has_turns = request.messages.size() > (request.has_system() ? 1u : 0u);
  if (request.options.add_generation_prompt && has_turns) writer.Control(kReply);
  return writer.Take();
}

}  // namespace npumoe
