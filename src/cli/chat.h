// A conversation on a terminal: reads turns, keeps the KV cache, streams replies.
#pragma once

#include "base/status.h"
#include "cli/engine.h"
#include "cli/generate.h"

namespace npumoe::cli {

struct ChatSettings {
  std::string system;
  std::optional<bool> enable_thinking;
};

// Until /bye or the end of the input. Ctrl-C stops the reply only.
Status Chat(Engine& engine, Session& session, const ChatTemplate& chat_template,
            const ChatSettings& settings, const GenerateOptions& options);

}  // namespace npumoe::cli
