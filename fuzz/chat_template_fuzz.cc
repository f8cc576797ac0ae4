// The text of a chat template (Jinja), as files bring it: recognised or refused, never run. What is
// recognised keeps the promises of every template.
#include "fuzz/chat_checks.h"
#include "fuzz/fuzz.h"

namespace npumoe {
namespace {

void Read(std::string_view input) {
  const auto recognised = ChatTemplate::Recognise(input);
  if (!recognised.ok()) {
    fuzz::Require(recognised.status().message().find("--chat-template") != std::string::npos,
                  "an error says what to do");
    return;
  }
  fuzz::Require(ChatTemplate::ByName(recognised->name()).ok(),
                "a recognised template is known by its name");
  const auto text = recognised->RenderText({{"user", "Hello"}}, {});
  fuzz::Require(text.ok() && text->find("Hello") != std::string::npos,
                "a recognised template renders a question");
  fuzz::CheckTemplate(*recognised, fuzz::HostileConversation());
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
