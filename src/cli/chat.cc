#include "cli/chat.h"

#include <fmt/format.h>

#include <iostream>
#include <string>
#include <vector>

#include "cli/interrupt.h"
#include "cli/table.h"

namespace npumoe::cli {
namespace {

constexpr const char* kHelp =
    "/bye      leave the chat (or Ctrl-D)\n"
    "/clear    forget the conversation\n"
    "/verbose  show or hide timings after each reply\n"
    "/help     this text\n"
    "Ctrl-C stops a reply.\n";

class Conversation {
 public:
  Conversation(Engine& engine, Session& session, const ChatTemplate& chat_template,
               const ChatSettings& settings, const GenerateOptions& options)
      : engine_(engine),
        model_(*engine.model),
        session_(session),
        template_(chat_template),
        settings_(settings),
        options_(options) {
    Clear();
  }

  void Clear() {
    messages_.clear();
    if (!settings_.system.empty()) messages_.push_back({"system", settings_.system, {}, {}});
  }

  Status Turn(const std::string& text) {
    messages_.push_back({"user", text, {}, {}});
    Result<Generation> reply = Reply();
    if (!reply.ok()) {
      messages_.pop_back();  // the turn may be tried again, shorter
      return reply.status();
    }
    if (options_.stream) fmt::print("\n");
    NPUMOE_ASSIGN_OR_RETURN(ChatMessage message,
                            template_.ReadReply(*model_.tokenizer, reply->ids));
    messages_.push_back(std::move(message));
    if (verbose_) PrintTimings(*reply);
    if (reply->stop == StopReason::kContextFull) {
      fmt::print(stderr, "(the context of {} tokens is full: /clear starts again)\n",
                 session_.context_tokens());
    }
    return OkStatus();
  }

  void ToggleVerbose() { verbose_ = !verbose_; }

 private:
  Result<Generation> Reply() {
    ChatOptions chat;
    chat.enable_thinking = settings_.enable_thinking;
    NPUMOE_ASSIGN_OR_RETURN(const auto prompt,
                            template_.Encode(*model_.tokenizer, messages_, chat));
    return Generate(session_, context_, prompt, options_);
  }

  void PrintTimings(const Generation& reply) const {
    fmt::print(stderr, "[{} prompt tokens in {} ({}), {} tokens at {:.1f}/s (measured), {}]\n",
               reply.prefill.tokens, FormatMs(reply.prefill.time_ms), engine_.PrefillTimeSource(),
               reply.ids.size(), reply.DecodeTokensPerSecond(), Name(reply.stop));
    if (reply.computed_again.times > 0) {
      fmt::print(stderr,
                 "[{} tokens of the context computed again: it passed a border of the "
                 "model's rotary factors]\n",
                 reply.computed_again.tokens);
    }
  }

  const Engine& engine_;
  const Model& model_;
  Session& session_;
  const ChatTemplate& template_;
  const ChatSettings& settings_;
  const GenerateOptions& options_;
  std::vector<ChatMessage> messages_;
  std::vector<int32_t> context_;
  bool verbose_ = false;
};

// The next line, empty after Ctrl-C at the prompt; false at the end of the input. A chat always
// has a terminal, which hands out one line at a time.
bool ReadLine(std::string& line) {
  fmt::print(stderr, ">>> ");
  std::fflush(stderr);
  if (InterruptGuard::WaitForInput()) return static_cast<bool>(std::getline(std::cin, line));
  InterruptGuard::Clear();
  fmt::print(stderr, "\n(/bye or Ctrl-D leaves the chat)\n");
  line.clear();
  return true;
}

}  // namespace

Status Chat(Engine& engine, Session& session, const ChatTemplate& chat_template,
            const ChatSettings& settings, const GenerateOptions& options) {
  Conversation conversation(engine, session, chat_template, settings, options);
  InterruptGuard interrupt;
  fmt::print(stderr, "/help lists commands, /bye leaves.\n");
  std::string line;
  while (ReadLine(line)) {
    if (line.empty()) continue;
    if (line == "/bye") break;
    if (line == "/clear") {
      conversation.Clear();
    } else if (line == "/verbose") {
      conversation.ToggleVerbose();
    } else if (line == "/help" || line == "/?") {
      fmt::print(stderr, "{}", kHelp);
    } else if (line.front() == '/') {
      fmt::print(stderr, "unknown command {}; /help lists them\n", line);
    } else {
      const Status status = conversation.Turn(line);
      if (!status.ok()) {
        fmt::print(stderr, "npumoe: error: {} (/clear starts again)\n", status.message());
      }
    }
    InterruptGuard::Clear();
  }
  return OkStatus();
}

}  // namespace npumoe::cli
