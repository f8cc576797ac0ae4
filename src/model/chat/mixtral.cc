// Mixtral: questions between [INST] and [/INST], which are text in its vocabulary and no tokens.
#include "model/chat/formats.h"
#include "model/chat/segments.h"

namespace npumoe {
namespace {

struct Frame {
  std::string_view question, question_end, reply, reply_end;
};

Frame FrameOf(int style) {
  switch (style) {
    case kNoSystem:
      return {"[INST] ", " [/INST]", "", ""};
    case kSpaceBehind:
      return {"[INST] ", " [/INST]", "", " "};
    case kSystemLast:
      return {"[INST] ", "[/INST]", " ", ""};
    default:
      return {" [INST] ", " [/INST]", " ", ""};
  }
}

// Questions and replies in turn, behind the system message if there may be one.
Status CheckOrder(const ChatRequest& request, size_t begin) {
  for (size_t i = begin; i < request.messages.size(); ++i) {
    const std::string wanted = (i - begin) % 2 == 0 ? "user" : "assistant";
    if (request.messages[i].role == wanted) continue;
    return InvalidInput(
        "messages[" + std::to_string(i) + "]: field 'role': found '" + request.messages[i].role +
        "'; the chat template 'mixtral' needs '" + wanted + "' here: " +
        (request.variant.style == kSystemFirst || request.variant.style == kSystemLast
             ? "an optional system message, then user and assistant in turn"
             : "user and assistant in turn, and no system message"));
  }
  return OkStatus();
}

}  // namespace

ChatSegments RenderMixtral(const ChatRequest& request) {
  NPUMOE_RETURN_IF_ERROR(RefuseTools(request, "mixtral"));
  const int style = request.variant.style;
  const bool takes_system = style == kSystemFirst || style == kSystemLast;
  const bool has_system = takes_system && request.has_system();
  const size_t begin = has_system ? 1 : 0;
  NPUMOE_RETURN_IF_ERROR(CheckOrder(request, begin));
  const size_t count = request.messages.size();
  const size_t system_at = style == kSystemFirst ? begin : count - 1;
  const Frame frame = FrameOf(style);
  SegmentWriter writer;
  writer.Control(request.bos);
  for (size_t i = begin; i < count; ++i) {
    const bool is_question = request.messages[i].role == "user";
    writer.Control(is_question ? frame.question : frame.reply);
    if (is_question && has_system && i == system_at) {
      writer.Text(request.first().content);
      writer.Control("\n\n");
    }
    writer.Text(request.messages[i].content);
    writer.Control(is_question ? frame.question_end : request.eos);
    if (!is_question) writer.Control(frame.reply_end);
  }
  return writer.Take();
}

}  // namespace npumoe
