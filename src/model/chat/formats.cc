#include "model/chat/formats.h"

#include <array>

namespace npumoe {
namespace {

// Tokens of Qwen's vocabulary that its templates write; only the first three are called special.
const std::vector<std::string_view> kQwenMarkers = {
    "<|im_start|>", "<|im_end|>",   "<|endoftext|>",   "<think>",         "</think>",
    "<tool_call>",  "</tool_call>", "<tool_response>", "</tool_response>"};

const std::vector<std::string_view> kPhiMarkers = {
    "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>", "<s>", "</s>", "<unk>"};

const std::vector<std::string_view> kGraniteMarkers = {"<|start_of_role|>", "<|end_of_role|>",
                                                       "<|end_of_text|>", "<|tool_call|>"};

constexpr std::string_view kDeepSeekBos = "<｜begin▁of▁sentence｜>";
constexpr std::string_view kDeepSeekEos = "<｜end▁of▁sentence｜>";

}  // namespace

std::span<const ChatFormat> ChatFormats() {
  static const std::array<ChatFormat, 14> formats = {{
      {"chatml", RenderChatMl, RecogniseChatMl, "", "", {"<|im_end|>"}, kQwenMarkers},
      {"qwen2.5", RenderQwen25, RecogniseQwen25, "", "", {"<|im_end|>"}, kQwenMarkers},
      {"qwen3", RenderQwen3, RecogniseQwen3, "", "", {"<|im_end|>"}, kQwenMarkers},
      {"qwen3-instruct",
       RenderQwen3Instruct,
       RecogniseQwen3Instruct,
       "",
       "",
       {"<|im_end|>"},
       kQwenMarkers},
      {"qwen3-thinking",
       RenderQwen3Thinking,
       RecogniseQwen3Thinking,
       "",
       "",
       {"<|im_end|>"},
       kQwenMarkers},
      {"phi3", RenderPhi3, RecognisePhi3, "<s>", "<|endoftext|>", {"<|end|>"}, kPhiMarkers},
      {"phi3-first",
       RenderPhi3First,
       RecognisePhi3First,
       "<s>",
       "<|endoftext|>",
       {"<|end|>"},
       kPhiMarkers},
      {"mixtral",
       RenderMixtral,
       RecogniseMixtral,
       "<s>",
       "</s>",
       {"</s>"},
       {"<s>", "</s>", "<unk>", "[INST]", "[/INST]"}},
      {"olmoe",
       RenderOlmoe,
       RecogniseOlmoe,
       "<|endoftext|>",
       "<|endoftext|>",
       {"<|endoftext|>"},
       {"<|endoftext|>", "|||IP_ADDRESS|||", "<|padding|>"}},
      {"granite", RenderGranite, RecogniseGranite, "", "", {"<|end_of_text|>"}, kGraniteMarkers},
      {"granite-3.1",
       RenderGranite31,
       RecogniseGranite31,
       "",
       "",
       {"<|end_of_text|>"},
       kGraniteMarkers},
      {"deepseek-v2",
       RenderDeepSeekV2,
       RecogniseDeepSeekV2,
       kDeepSeekBos,
       kDeepSeekEos,
       {kDeepSeekEos},
       {kDeepSeekBos, kDeepSeekEos}},
      {"deepseek-v2.5",
       RenderDeepSeekV25,
       RecogniseDeepSeekV25,
       kDeepSeekBos,
       kDeepSeekEos,
       {kDeepSeekEos},
       {kDeepSeekBos, kDeepSeekEos, "<｜User｜>", "<｜Assistant｜>"}},
      {"gpt-oss",
       RenderHarmony,
       RecogniseHarmony,
       "<|startoftext|>",
       "<|return|>",
       {"<|return|>", "<|call|>"},
       {"<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>",
        "<|call|>", "<|startoftext|>", "<|endoftext|>", "<|endofprompt|>"},
       ReadHarmonyReply},
  }};
  return formats;
}

Status RefuseTools(const ChatRequest& request, std::string_view name) {
  const std::string start = "the chat template '" + std::string(name) + "' has no place for ";
  if (!request.options.tools_json.empty() && request.options.tools_json != "[]") {
    return Unsupported(start +
                       "tools; leave them out or choose another template with --chat-template");
  }
  for (const ChatMessage& message : request.messages) {
    if (!message.tool_calls_json.empty()) return Unsupported(start + "tool calls; leave them out");
    if (message.role == "tool") return Unsupported(start + "messages of tools; leave them out");
  }
  return OkStatus();
}

}  // namespace npumoe
