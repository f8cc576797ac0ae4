// Takes a reply of gpt-oss apart: "<|channel|>analysis<|message|>...<|end|><|start|>assistant
// <|channel|>final<|message|>..." as the model writes it behind "<|start|>assistant".
#include <algorithm>

#include "model/chat/formats.h"

namespace npumoe {
namespace {

constexpr std::string_view kChannel = "<|channel|>";
constexpr std::string_view kMessage = "<|message|>";
constexpr std::string_view kEnds[] = {"<|end|>", "<|return|>", "<|call|>", "<|start|>"};

// Up to the token that ends a message, or all of it.
std::string_view UpToEnd(std::string_view text) {
  size_t end = text.size();
  for (const std::string_view token : kEnds) end = std::min(end, text.find(token));
  return text.substr(0, end);
}

}  // namespace

ChatMessage ReadHarmonyReply(std::string_view text) {
  ChatMessage message{.role = "assistant"};
  std::string reasoning;
  for (size_t at = text.find(kChannel); at != text.npos; at = text.find(kChannel, at + 1)) {
    const size_t begin = text.find(kMessage, at);
    if (begin == text.npos) break;
    const std::string_view channel =
        text.substr(at + kChannel.size(), begin - at - kChannel.size());
    const std::string_view body = UpToEnd(text.substr(begin + kMessage.size()));
    (channel == "final" ? message.content : reasoning) += body;
  }
  if (!reasoning.empty()) message.reasoning_content = reasoning;
  // A reply without channels is what it is.
  if (text.find(kChannel) == text.npos) message.content = UpToEnd(text);
  return message;
}

}  // namespace npumoe
