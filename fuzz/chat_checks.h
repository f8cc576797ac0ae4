// What holds for every chat template and every conversation.
#pragma once

#include <vector>

#include "model/chat_template.h"

namespace npumoe::fuzz {

struct Conversation {
  std::vector<ChatMessage> messages;
  ChatOptions options;
};

// The promise: nothing that users, tools or the model wrote becomes a control token, and none of it
// stands in control text. Checked with tokenizers that have the control tokens of all templates.
void CheckTemplate(const ChatTemplate& format, const Conversation& conversation);

// A conversation in which everybody spells control tokens.
Conversation HostileConversation();

}  // namespace npumoe::fuzz
