// A conversation as data, rendered by every known template. Fields of the input: options (one
// character each), tools, then role, content, reasoning and tool calls of each message.
//
// The promise under test: nothing that users, tools or the model wrote becomes a control token, and
// none of it stands in control text.
#include "fuzz/fuzz.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"

namespace npumoe {
namespace {

// A character that no template has.
constexpr std::string_view kMark = "\xEE\x80\x80";  // U+E000

const Tokenizer& Demo() {
  static const auto tokenizer = Tokenizer::Load(NPUMOE_SOURCE_DIR "/models/demo");
  fuzz::Require(tokenizer.ok(), "models/demo has a tokenizer: " + tokenizer.status().message());
  return **tokenizer;
}

struct Conversation {
  std::vector<ChatMessage> messages;
  ChatOptions options;
};

Conversation Parse(std::string_view input) {
  fuzz::Fields fields(input);
  Conversation conversation;
  const std::string_view switches = fields.Take();
  const auto is_set = [&](size_t i, char c) { return i < switches.size() && switches[i] == c; };
  conversation.options.add_generation_prompt = !is_set(0, '0');
  if (is_set(1, '0') || is_set(1, '1')) conversation.options.enable_thinking = is_set(1, '1');
  conversation.options.tools_json = fields.Take();
  constexpr size_t kMaxMessages = 40;
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

std::string Marked(std::string_view text) {
  return std::string(kMark) + std::string(text) + std::string(kMark);
}

Conversation Marked(Conversation conversation) {
  for (ChatMessage& message : conversation.messages) {
    message.content = Marked(message.content);
    if (message.reasoning_content) message.reasoning_content = Marked(*message.reasoning_content);
  }
  return conversation;
}

// Control tokens of the control text alone, piece by piece.
size_t CountInControl(const std::vector<ChatSegment>& segments) {
  size_t count = 0;
  for (const ChatSegment& segment : segments) {
    if (!segment.is_control) continue;
    const auto ids = Demo().Encode(segment.text, SpecialTokens::kParse);
    fuzz::Require(ids.ok(), "control text is valid UTF-8");
    for (const int32_t id : *ids) count += Demo().IsSpecial(id) ? 1 : 0;
  }
  return count;
}

void CheckFormat(const ChatTemplate& format, const Conversation& conversation) {
  const auto segments = format.Render(conversation.messages, conversation.options);
  const auto text = format.RenderText(conversation.messages, conversation.options);
  fuzz::Require(segments.ok() == text.ok(), "segments and text are refused alike");
  const auto ids = format.Encode(Demo(), conversation.messages, conversation.options);
  if (!segments.ok()) {
    fuzz::Require(!ids.ok(), "what cannot be rendered cannot be encoded");
    return;
  }
  std::string joined;
  for (const ChatSegment& segment : *segments) joined += segment.text;
  fuzz::Require(joined == *text, "the text is its segments joined");
  if (ids.ok()) {
    size_t count = 0;
    for (const int32_t id : *ids) count += Demo().IsSpecial(id) ? 1 : 0;
    fuzz::Require(count == CountInControl(*segments), "only control text makes control tokens");
  }
  const Conversation marked = Marked(conversation);
  const auto marked_segments = format.Render(marked.messages, marked.options);
  if (!marked_segments.ok()) return;
  for (const ChatSegment& segment : *marked_segments) {
    fuzz::Require(!segment.is_control || segment.text.find(kMark) == std::string::npos,
                  "no text of a message stands in control text");
  }
}

void Read(std::string_view input) {
  const Conversation conversation = Parse(input);
  for (const char* name : {"chatml", "qwen3"}) {
    const auto format = ChatTemplate::ByName(name);
    fuzz::Require(format.ok(), "the template is known by its name");
    CheckFormat(*format, conversation);
  }
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
