// ChatTemplate: renders a conversation as the model's own template would, and encodes it so that
// text from users can never become a control token.
//
// Templates are recognised, not interpreted: no Jinja engine runs on input from the world. The
// ChatML family (Qwen3's thinking switch and tools included) is known; an unknown template is an
// error that names --chat-template. The formats, one file each, are in chat/.
#pragma once

#include <cstdint>
#include <optional>
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
};

// One piece of a rendered prompt: control text is parsed for special tokens, the rest never is.
struct ChatSegment {
  std::string text;
  bool is_control = false;
};

class ChatTemplate {
 public:
  // From the text of `chat_template` in tokenizer_config.json.
  static Result<ChatTemplate> Recognise(std::string_view jinja_source);
  // By name, for --chat-template: "chatml", "qwen3". An unknown name lists the known ones.
  static Result<ChatTemplate> ByName(std::string_view name);

  const std::string& name() const { return name_; }
  // The token that ends a turn: a reply stops at it, whatever the model's files say.
  std::string_view end_of_turn() const { return "<|im_end|>"; }
  Result<std::vector<ChatSegment>> Render(const std::vector<ChatMessage>& messages,
                                          const ChatOptions& options) const;
  // The segments joined: what the reference template renders.
  Result<std::string> RenderText(const std::vector<ChatMessage>& messages,
                                 const ChatOptions& options) const;
  // The ids of the joined text, in which special tokens count only inside control segments:
  // `<|im_end|>` typed by a user stays text and ends no turn.
  Result<std::vector<int32_t>> Encode(const Tokenizer& tokenizer,
                                      const std::vector<ChatMessage>& messages,
                                      const ChatOptions& options) const;

 private:
  explicit ChatTemplate(std::string name) : name_(std::move(name)) {}
  std::string name_;
};

}  // namespace npumoe
