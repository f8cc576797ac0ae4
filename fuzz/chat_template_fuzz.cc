// The text of a chat template (Jinja), as files bring it: recognised or refused, never run.
#include "fuzz/fuzz.h"
#include "model/chat_template.h"

namespace npumoe {
namespace {

void Read(std::string_view input) {
  const auto recognised = ChatTemplate::Recognise(input);
  if (!recognised.ok()) {
    fuzz::Require(recognised.status().message().find("--chat-template") != std::string::npos,
                  "an error says what to do");
    return;
  }
  const auto named = ChatTemplate::ByName(recognised->name());
  fuzz::Require(named.ok(), "a recognised template is known by its name");
  const std::vector<ChatMessage> messages = {{"user", "Hello"}};
  fuzz::Require(recognised->RenderText(messages, {}).ok(), "a recognised template renders");
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
