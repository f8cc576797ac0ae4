// The known chat formats, one file each: how each renders a conversation, and how its template
// is recognised. A format is added here and in chat_template.cc's table.
#pragma once

#include <vector>

#include "base/status.h"
#include "model/chat/jinja_text.h"
#include "model/chat_template.h"

namespace npumoe {

// Plain ChatML: every message as "<|im_start|>ROLE\nCONTENT<|im_end|>\n". Has no place for tools.
Result<std::vector<ChatSegment>> RenderChatMl(const std::vector<ChatMessage>& messages,
                                              const ChatOptions& options);
bool IsChatMl(const JinjaText& text);

// Qwen3 with its thinking switch and tools, as the template of Qwen3-30B-A3B and its siblings.
Result<std::vector<ChatSegment>> RenderQwen3(const std::vector<ChatMessage>& messages,
                                             const ChatOptions& options);
bool IsQwen3(const JinjaText& text);

}  // namespace npumoe
