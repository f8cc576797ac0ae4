#include "model/chat/formats.h"

#include <array>

namespace npumoe {
namespace {

// Tokens of Qwen's vocabulary that its templates write; only the first three are called special.
const std::vector<std::string_view> kQwenMarkers = {
    "<|im_start|>", "<|im_end|>",   "<|endoftext|>",   "<think>",         "</think>",
    "<tool_call>",  "</tool_call>", "<tool_response>", "</tool_response>"};
const std::vector<std::string_view> kChatMlNeeded = {"<|im_start|>", "<|im_end|>"};
const std::vector<std::string_view> kQwen25Needed = {"<|im_start|>", "<|im_end|>", "<tool_call>",
                                                     "</tool_call>"};
const std::vector<std::string_view> kQwen3Needed = {
    "<|im_start|>", "<|im_end|>",   "<think>",         "</think>",
    "<tool_call>",  "</tool_call>", "<tool_response>", "</tool_response>"};

const std::vector<std::string_view> kPhiMarkers = {
    "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>", "<s>", "</s>", "<unk>"};
const std::vector<std::string_view> kPhiNeeded = {"<|system|>", "<|user|>", "<|assistant|>",
                                                  "<|end|>", "<|endoftext|>"};

const std::vector<std::string_view> kGraniteMarkers = {"<|start_of_role|>", "<|end_of_role|>",
                                                       "<|end_of_text|>", "<|tool_call|>"};
const std::vector<std::string_view> kGraniteNeeded = {"<|start_of_role|>", "<|end_of_role|>",
                                                      "<|end_of_text|>"};

constexpr std::string_view kDeepSeekBos = "<｜begin▁of▁sentence｜>";
constexpr std::string_view kDeepSeekEos = "<｜end▁of▁sentence｜>";

ChatFormat Qwen(std::string_view name, ChatSegments (*render)(const ChatRequest&),
                const std::vector<std::string_view>& needed) {
  return {.name = name,
          .render = render,
          .ends = {"<|im_end|>"},
          .markers = kQwenMarkers,
          .needed = needed};
}

ChatFormat Phi(std::string_view name, ChatSegments (*render)(const ChatRequest&)) {
  return {.name = name,
          .render = render,
          .bos = "<s>",
          .eos = "<|endoftext|>",
          .ends = {"<|end|>"},
          .markers = kPhiMarkers,
          .needed = kPhiNeeded};
}

ChatFormat Granite(std::string_view name, ChatSegments (*render)(const ChatRequest&)) {
  return {.name = name,
          .render = render,
          .ends = {"<|end_of_text|>"},
          .markers = kGraniteMarkers,
          .needed = kGraniteNeeded};
}

// [INST] and [/INST] are text in Mixtral's vocabulary.
ChatFormat Mixtral() {
  return {.name = "mixtral",
          .render = RenderMixtral,
          .bos = "<s>",
          .eos = "</s>",
          .ends = {"</s>"},
          .markers = {"<s>", "</s>", "<unk>", "[INST]", "[/INST]"},
          .needed = {"</s>"}};
}

// The headers of roles are text.
ChatFormat Olmoe() {
  return {.name = "olmoe",
          .render = RenderOlmoe,
          .bos = "<|endoftext|>",
          .eos = "<|endoftext|>",
          .ends = {"<|endoftext|>"},
          .markers = {"<|endoftext|>", "|||IP_ADDRESS|||", "<|padding|>"},
          .needed = {"<|endoftext|>"}};
}

ChatFormat DeepSeekV2() {
  return {.name = "deepseek-v2",
          .render = RenderDeepSeekV2,
          .bos = kDeepSeekBos,
          .eos = kDeepSeekEos,
          .ends = {kDeepSeekEos},
          .markers = {kDeepSeekBos, kDeepSeekEos},
          .needed = {kDeepSeekEos}};
}

ChatFormat DeepSeekV25() {
  return {.name = "deepseek-v2.5",
          .render = RenderDeepSeekV25,
          .bos = kDeepSeekBos,
          .eos = kDeepSeekEos,
          .ends = {kDeepSeekEos},
          .markers = {kDeepSeekBos, kDeepSeekEos, "<｜User｜>", "<｜Assistant｜>"},
          .needed = {kDeepSeekEos, "<｜User｜>", "<｜Assistant｜>"}};
}

ChatFormat Harmony() {
  return {
      .name = "gpt-oss",
      .render = RenderHarmony,
      .bos = "<|startoftext|>",
      .eos = "<|return|>",
      .ends = {"<|return|>", "<|call|>"},
      .markers = {"<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>",
                  "<|return|>", "<|call|>", "<|startoftext|>", "<|endoftext|>", "<|endofprompt|>"},
      .needed = {"<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>"},
      .read_reply = ReadHarmonyReply};
}

}  // namespace

std::span<const ChatFormat> ChatFormats() {
  static const std::array<ChatFormat, 14> formats = {{
      Qwen("chatml", RenderChatMl, kChatMlNeeded),
      Qwen("qwen2.5", RenderQwen25, kQwen25Needed),
      Qwen("qwen3", RenderQwen3, kQwen3Needed),
      Qwen("qwen3-instruct", RenderQwen3Instruct, kQwen3Needed),
      Qwen("qwen3-thinking", RenderQwen3Thinking, kQwen3Needed),
      Phi("phi3", RenderPhi3),
      Phi("phi3-first", RenderPhi3First),
      Mixtral(),
      Olmoe(),
      Granite("granite", RenderGranite),
      Granite("granite-3.1", RenderGranite31),
      DeepSeekV2(),
      DeepSeekV25(),
      Harmony(),
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
