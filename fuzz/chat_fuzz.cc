// A conversation as data. Fields of the input: switches (one character each: generation prompt '0'
// or '1'; thinking likewise; the template, 'a' being the first; without it all are tried),
// reasoning effort, tools, then role, content, reasoning and tool calls of each message.
#include "fuzz/chat_checks.h"
#include "fuzz/fuzz.h"
#include "model/chat/formats.h"

namespace npumoe {
namespace {

constexpr size_t kMaxMessages = 40;

fuzz::Conversation Parse(std::string_view input) {
  fuzz::Fields fields(input);
  fuzz::Conversation conversation;
  ChatOptions& options = conversation.options;
  const std::string_view switches = fields.Take();
  const auto is_set = [&](size_t i, char c) { return i < switches.size() && switches[i] == c; };
  options.add_generation_prompt = !is_set(0, '0');
  if (is_set(1, '0') || is_set(1, '1')) options.enable_thinking = is_set(1, '1');
  options.today = std::chrono::year_month_day(std::chrono::sys_days(std::chrono::days(20'000)));
  options.reasoning_effort = fields.Take();
  options.tools_json = fields.Take();
  while (!fields.AtEnd() && conversation.messages.size() < kMaxMessages) {
    ChatMessage message;
    message.role = fields.Take();
    message.content = fields.Take();
    const std::string_view reasoning = fields.Take();
    if (!reasoning.empty()) message.reasoning_content = std::string(reasoning);
    message.tool_calls_json = fields.Take();
    conversation.messages.push_back(std::move(message));
  }
  return conversation;
}

void Read(std::string_view input) {
  const fuzz::Conversation conversation = Parse(input);
  const std::span<const ChatFormat> all = ChatFormats();
  const size_t chosen = input.size() > 2 ? static_cast<size_t>(input[2] - 'a') : all.size();
  for (size_t i = 0; i < all.size(); ++i) {
    if (chosen < all.size() && chosen != i) continue;
    const auto format = ChatTemplate::ByName(all[i].name);
    fuzz::Require(format.ok(), "every template is known by its name");
    fuzz::CheckTemplate(*format, conversation);
  }
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
