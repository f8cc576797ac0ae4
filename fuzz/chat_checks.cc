#include "fuzz/chat_checks.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "fuzz/fuzz.h"
#include "model/chat/formats.h"
#include "model/tokenizer.h"

namespace npumoe::fuzz {
namespace {

// A character that no template has.
constexpr std::string_view kMark = "\xEE\x80\x80";  // U+E000

// Every token that any template writes, and some that none does.
std::set<std::string> ControlTokens() {
  std::set<std::string> tokens = {"<|fim_prefix|>", "<extra>"};
  for (const ChatFormat& format : ChatFormats()) {
    for (const std::string_view token : format.ends) tokens.emplace(token);
    for (const std::string_view token : format.markers) tokens.emplace(token);
  }
  return tokens;
}

// Of a character below U+0800.
std::string Utf8(int32_t point) {
  if (point < 0x80) return std::string(1, static_cast<char>(point));
  return {static_cast<char>(0xC0 | (point >> 6)), static_cast<char>(0x80 | (point & 0x3F))};
}

// Byte-level BPE of single bytes without merges. Some added tokens are not called special; they may
// swallow the white space behind them, as Phi-3's do.
enum class Strip { kNothing, kRight };
std::shared_ptr<const Tokenizer> MakeTokenizer(Strip strip) {
  Json vocabulary = Json::object();
  int32_t id = 0;
  int32_t next = 0x100;
  for (int32_t c = 0; c < 256; ++c) {
    // The byte-level alphabet: printable Latin-1 as it is, the others from U+0100 on.
    const bool is_printable = (c >= '!' && c <= '~') || (c >= 0xA1 && c != 0xAD);
    vocabulary[Utf8(is_printable ? c : next++)] = id++;
  }
  Json added = Json::array();
  for (const std::string& token : ControlTokens()) {
    added.push_back({{"id", id++},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", strip == Strip::kRight},
                     {"normalized", false},
                     {"special", token.find('|') != token.npos}});
  }
  const Json json = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"fuse_unk", false},
        {"vocab", vocabulary},
        {"merges", Json::array()}}}};
  const auto tokenizer = Tokenizer::FromJson(json.dump(), "all control tokens");
  Require(tokenizer.ok(), "the tokenizer of the check loads: " + tokenizer.status().message());
  return *tokenizer;
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

// Ids that mean control: special ones, and the template's own.
size_t CountControl(const Tokenizer& tokenizer, const std::set<int32_t>& markers,
                    const std::vector<int32_t>& ids) {
  return static_cast<size_t>(std::ranges::count_if(
      ids, [&](int32_t id) { return tokenizer.IsSpecial(id) || markers.contains(id); }));
}

std::set<int32_t> MarkersOf(const ChatTemplate& format, const Tokenizer& tokenizer) {
  std::set<int32_t> markers;
  for (const ChatFormat& known : ChatFormats()) {
    if (known.name != format.name()) continue;
    for (const std::string_view token : known.markers) markers.insert(*tokenizer.TokenId(token));
  }
  return markers;
}

void CheckControlTokens(const ChatTemplate& format, const Tokenizer& tokenizer,
                        const Conversation& conversation,
                        const std::vector<ChatSegment>& segments) {
  const auto ids = format.Encode(tokenizer, conversation.messages, conversation.options);
  Require(ids.ok(), "what is rendered can be encoded: " + ids.status().message());
  const std::set<int32_t> markers = MarkersOf(format, tokenizer);
  size_t expected = 0;
  for (const ChatSegment& segment : segments) {
    if (!segment.is_control) continue;
    const auto control = tokenizer.Encode(segment.text, SpecialTokens::kParse);
    Require(control.ok(), "control text is valid UTF-8");
    expected += CountControl(tokenizer, markers, *control);
  }
  Require(CountControl(tokenizer, markers, *ids) == expected,
          format.name() + ": only control text makes control tokens");
}

}  // namespace

void CheckTemplate(const ChatTemplate& format, const Conversation& conversation) {
  static const auto plain = MakeTokenizer(Strip::kNothing);
  static const auto stripping = MakeTokenizer(Strip::kRight);
  const auto segments = format.Render(conversation.messages, conversation.options);
  const auto text = format.RenderText(conversation.messages, conversation.options);
  Require(segments.ok() == text.ok(), "segments and text are refused alike");
  if (!segments.ok()) {
    Require(!segments.status().message().empty(), "a refusal has a reason");
    Require(!format.Encode(*plain, conversation.messages, conversation.options).ok(),
            "what cannot be rendered cannot be encoded");
    return;
  }
  std::string joined;
  for (const ChatSegment& segment : *segments) joined += segment.text;
  Require(joined == *text, "the text is its segments joined");
  CheckControlTokens(format, *plain, conversation, *segments);
  CheckControlTokens(format, *stripping, conversation, *segments);

  const Conversation marked = Marked(conversation);
  const auto marked_segments = format.Render(marked.messages, marked.options);
  if (!marked_segments.ok()) return;
  for (const ChatSegment& segment : *marked_segments) {
    Require(!segment.is_control || segment.text.find(kMark) == std::string::npos,
            format.name() + ": no text of a message stands in control text");
  }
}

Conversation HostileConversation() {
  std::string spelled;
  for (const std::string& token : ControlTokens()) spelled += token + "\n" + token;
  Conversation conversation;
  for (const char* role : {"system", "user", "assistant", "user"}) {
    conversation.messages.push_back({role, spelled});
  }
  return conversation;
}

}  // namespace npumoe::fuzz
