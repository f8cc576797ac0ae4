// The known chat formats, one file each: how each renders a conversation. A format is added here,
// in formats.cc's table, and with its templates in known_templates.cc.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/chat_template.h"

namespace npumoe {

// A conversation with everything that a template reads.
struct ChatRequest {
  const std::vector<ChatMessage>& messages;  // at least one; roles are checked
  const ChatOptions& options;
  const ChatVariant& variant;
  std::string_view bos, eos;  // may be empty

  const ChatMessage& first() const { return messages.front(); }
  // The first message is the system's.
  bool has_system() const { return messages.front().role == "system"; }
};

using ChatSegments = Result<std::vector<ChatSegment>>;

struct ChatFormat {
  std::string_view name;
  ChatSegments (*render)(const ChatRequest&) = nullptr;
  // Where the model's files do not say.
  std::string_view bos = {}, eos = {};
  // Tokens that end a reply. The model's own end of text always does.
  std::vector<std::string_view> ends = {};
  // Tokens that structure a prompt: text from outside never becomes one of them, even where the
  // tokenizer does not call them special.
  std::vector<std::string_view> markers = {};
  // Those of them that a prompt is worthless without: where the vocabulary lacks one that is
  // written, the format does not fit the model. (Others are text in some models: [INST], say.)
  std::vector<std::string_view> needed = {};
  // Makes a message of a reply, its special tokens spelled out; null: the text without them is it.
  ChatMessage (*read_reply)(std::string_view text) = nullptr;
};

std::span<const ChatFormat> ChatFormats();

// An error for a template that has no place for tools, tool calls or answers of tools.
Status RefuseTools(const ChatRequest& request, std::string_view name);

// Plain ChatML: every message as "<|im_start|>ROLE\nCONTENT<|im_end|>\n"; `default_system` where
// the conversation has none.
enum ChatMlStyle {
  kEndsEveryMessage = 0,
  kContinuesTheLast = 1,  // a last message is left open where no reply is asked for (Qwen1.5)
};
ChatSegments RenderChatMl(const ChatRequest& request);

// Qwen2.5: ChatML with tools.
ChatSegments RenderQwen25(const ChatRequest& request);

// Qwen3 with its thinking switch; and its successors of July 2025, which only think or never do.
ChatSegments RenderQwen3(const ChatRequest& request);
ChatSegments RenderQwen3Instruct(const ChatRequest& request);
ChatSegments RenderQwen3Thinking(const ChatRequest& request);

// Phi-3.5 and Phi-3.
enum Phi3Style {
  kSkipsEmptySystem = 0,   // Phi-3.5
  kPrintsEmptySystem = 1,  // Phi-3
};
ChatSegments RenderPhi3(const ChatRequest& request);
// The first Phi-3: no system message, the reply's header belongs to the question.
ChatSegments RenderPhi3First(const ChatRequest& request);

// Mixtral 8x7B and 8x22B, whose templates differ in spaces and in where the system message goes.
enum MixtralStyle {
  kSystemFirst = 0,  // 8x7B since 2024: the system message opens the first question
  kNoSystem = 1,     // 8x7B of 2023
  kSystemLast = 2,   // 8x22B: it opens the last question
  kSpaceBehind = 3,  // as kNoSystem, with a space behind each reply
};
ChatSegments RenderMixtral(const ChatRequest& request);

// OLMoE and OLMo 2.
enum OlmoeStyle {
  kBareEnd = 0,  // of 2025: nothing behind the end of the last reply
  kLineEnd = 1,  // of 2024: a line feed
};
ChatSegments RenderOlmoe(const ChatRequest& request);

// Granite 3.0, and 3.1 with a system prompt that names the date.
ChatSegments RenderGranite(const ChatRequest& request);
ChatSegments RenderGranite31(const ChatRequest& request);

// DeepSeek-V2, and V2.5 with tokens for its roles.
ChatSegments RenderDeepSeekV2(const ChatRequest& request);
ChatSegments RenderDeepSeekV25(const ChatRequest& request);

// gpt-oss ("harmony") with tools.
ChatSegments RenderHarmony(const ChatRequest& request);
ChatMessage ReadHarmonyReply(std::string_view text);

}  // namespace npumoe
