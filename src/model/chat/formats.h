// The known chat formats, one file each: how each renders a conversation, and how its template
// is recognised. A format is added here and in formats.cc's table.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/chat/jinja_text.h"
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
  ChatSegments (*render)(const ChatRequest&);
  // None: the template is another one.
  std::optional<ChatVariant> (*recognise)(const JinjaText&);
  // Where the model's files do not say.
  std::string_view bos, eos;
  // Tokens that end a reply. The model's own end of text always does.
  std::vector<std::string_view> ends;
  // Tokens that structure a prompt: text from outside never becomes one of them, even where the
  // tokenizer does not call them special.
  std::vector<std::string_view> markers;
  // Makes a message of a reply, its special tokens spelled out; null: the text without them is it.
  ChatMessage (*read_reply)(std::string_view text) = nullptr;
};

std::span<const ChatFormat> ChatFormats();

// An error for a template that has no place for tools, tool calls or answers of tools.
Status RefuseTools(const ChatRequest& request, std::string_view name);

// Plain ChatML: every message as "<|im_start|>ROLE\nCONTENT<|im_end|>\n"; `default_system` where
// the conversation has none.
ChatSegments RenderChatMl(const ChatRequest& request);
std::optional<ChatVariant> RecogniseChatMl(const JinjaText& text);

// Qwen2.5: ChatML with tools.
ChatSegments RenderQwen25(const ChatRequest& request);
std::optional<ChatVariant> RecogniseQwen25(const JinjaText& text);

// Qwen3 with its thinking switch; and its successors of July 2025, which only think or never do.
ChatSegments RenderQwen3(const ChatRequest& request);
std::optional<ChatVariant> RecogniseQwen3(const JinjaText& text);
ChatSegments RenderQwen3Instruct(const ChatRequest& request);
std::optional<ChatVariant> RecogniseQwen3Instruct(const JinjaText& text);
ChatSegments RenderQwen3Thinking(const ChatRequest& request);
std::optional<ChatVariant> RecogniseQwen3Thinking(const JinjaText& text);

// Phi-3.5 and Phi-3 (which prints empty system messages, too).
ChatSegments RenderPhi3(const ChatRequest& request);
std::optional<ChatVariant> RecognisePhi3(const JinjaText& text);
// The first Phi-3: no system message, the reply's header belongs to the question.
ChatSegments RenderPhi3First(const ChatRequest& request);
std::optional<ChatVariant> RecognisePhi3First(const JinjaText& text);

// Mixtral 8x7B and 8x22B.
ChatSegments RenderMixtral(const ChatRequest& request);
std::optional<ChatVariant> RecogniseMixtral(const JinjaText& text);

// OLMoE and OLMo 2.
ChatSegments RenderOlmoe(const ChatRequest& request);
std::optional<ChatVariant> RecogniseOlmoe(const JinjaText& text);

// Granite 3.0, and 3.1 with a system prompt that names the date.
ChatSegments RenderGranite(const ChatRequest& request);
std::optional<ChatVariant> RecogniseGranite(const JinjaText& text);
ChatSegments RenderGranite31(const ChatRequest& request);
std::optional<ChatVariant> RecogniseGranite31(const JinjaText& text);

// DeepSeek-V2, and V2.5 with tokens for its roles.
ChatSegments RenderDeepSeekV2(const ChatRequest& request);
std::optional<ChatVariant> RecogniseDeepSeekV2(const JinjaText& text);
ChatSegments RenderDeepSeekV25(const ChatRequest& request);
std::optional<ChatVariant> RecogniseDeepSeekV25(const JinjaText& text);

// gpt-oss ("harmony") with tools.
ChatSegments RenderHarmony(const ChatRequest& request);
std::optional<ChatVariant> RecogniseHarmony(const JinjaText& text);
ChatMessage ReadHarmonyReply(std::string_view text);

}  // namespace npumoe
