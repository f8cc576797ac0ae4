// ChatTemplate: renders a conversation as the model's own template would, and encodes it so that
// text from users can never become a control token.
//
// Templates are recognised, not interpreted: no Jinja engine runs on input from the world. The
// published templates of the supported families are known, whole (chat/known_templates.h); one
// that differs from all of them in more than its layout is an error that names --chat-template.
// The formats that they render (KnownNames), one file each, are in chat/.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace npumoe {

class Tokenizer;

struct ChatMessage {
  std::string role = {};  // "system", "user", "assistant", "tool"
  std::string content = {};
  std::optional<std::string> reasoning_content = {};
  std::string tool_calls_json = {};  // a JSON array as text, or empty
};

struct ChatOptions {
  bool add_generation_prompt = true;
  std::optional<bool> enable_thinking = {};  // none: the template's own default
  std::string tools_json = {};               // a JSON array as text, or empty
  std::string reasoning_effort = {};         // gpt-oss: "low", "medium", "high"; empty: its default
  // What templates print as the current date; none: this machine's.
  std::optional<std::chrono::year_month_day> today = {};
  // The model's tokens; none: those that the format's models have.
  std::optional<std::string> bos_token = {};
  std::optional<std::string> eos_token = {};
};

// One piece of a rendered prompt: control text is parsed for special tokens, the rest never is.
struct ChatSegment {
  std::string text;
  bool is_control = false;
};

// What differs between templates of one format.
struct ChatVariant {
  int style = 0;               // the format's own; 0: what its name alone stands for
  std::string default_system;  // the system message of conversations that bring none
  bool operator==(const ChatVariant&) const = default;
};

struct ChatFormat;

class ChatTemplate {
 public:
  // From the text of `chat_template` in tokenizer_config.json.
  static Result<ChatTemplate> Recognise(std::string_view jinja_source);
  // By name, for --chat-template: "chatml", "qwen3". An unknown name lists the known ones.
  static Result<ChatTemplate> ByName(std::string_view name);
  static std::string KnownNames();  // "chatml, qwen2.5, ..."

  std::string name() const;
  // The tokens that end a turn, of those that the tokenizer has: a reply stops at each of them,
  // whatever the model's files say.
  std::vector<int32_t> EndTokens(const Tokenizer& tokenizer) const;
  Result<std::vector<ChatSegment>> Render(const std::vector<ChatMessage>& messages,
                                          const ChatOptions& options) const;
  // The segments joined: what the reference template renders.
  Result<std::string> RenderText(const std::vector<ChatMessage>& messages,
                                 const ChatOptions& options) const;
  // The ids of the joined text, in which special tokens count only inside control segments:
  // `<|im_end|>` typed by a user stays text and ends no turn. So do the tokens that the template
  // writes and the tokenizer does not call special ("<think>"). Fails for a tokenizer that lacks
  // control tokens which the template writes, and names them.
  Result<std::vector<int32_t>> Encode(const Tokenizer& tokenizer,
                                      const std::vector<ChatMessage>& messages,
                                      const ChatOptions& options) const;
  // A reply as the message that later turns render: reasoning apart from the final text, where the
  // format writes both.
  Result<ChatMessage> ReadReply(const Tokenizer& tokenizer, std::span<const int32_t> ids) const;

 private:
  ChatTemplate(const ChatFormat* format, ChatVariant variant)
      : format_(format), variant_(std::move(variant)) {}
  const ChatFormat* format_;
  ChatVariant variant_;
};

}  // namespace npumoe
