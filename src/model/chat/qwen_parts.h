// What the templates of Qwen2.5 and Qwen3 have in common: tools, calls and their answers.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "model/chat/formats.h"
#include "model/chat/python_json.h"
#include "model/chat/segments.h"

namespace npumoe {

// "# Tools ... <tools>" and what stands behind the list.
extern const std::string_view kQwenToolsIntroduction;
extern const std::string_view kQwenToolsClosing;

void WriteQwenTurn(const ChatMessage& message, SegmentWriter* writer);
void WriteQwenTools(const OrderedJson& tools, SegmentWriter* writer);
// The answer of a tool; those that follow each other share one user turn.
void WriteQwenToolResponse(const std::vector<ChatMessage>& messages, size_t i,
                           SegmentWriter* writer);

// How a call's arguments print where they are text: as they are, or as a JSON string.
enum class TextArguments { kAsTheyAre, kQuoted };

// `messages[i].tool_calls`, each checked; none where there are none.
Result<std::vector<OrderedJson>> ReadQwenToolCalls(const std::vector<ChatMessage>& messages,
                                                   size_t i);
// "<tool_call>...</tool_call>" of a checked call.
void WriteQwenToolCall(const OrderedJson& call, TextArguments text_arguments,
                       SegmentWriter* writer);

}  // namespace npumoe
