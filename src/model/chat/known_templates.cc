#include "model/chat/known_templates.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "base/hash.h"
#include "model/chat/formats.h"
#include "model/chat/jinja_tokens.h"

namespace npumoe {
namespace {

// DeepSeek-V2.5's template prints its own indentation.
constexpr int kDeepSeekIndentation = 8;

// Several published templates of one format render the same (the later ones of Qwen3 also take
// content that is no text). The texts themselves, with their licences, are in
// tests/data/tokenizer/templates.jsonl; a test compares both lists and prints missing hashes. That
// each renders as its format does was compared with Jinja (formats.chat.jsonl).
constexpr KnownTemplate kKnown[] = {
    {.hash = "0be028822aaf93c471355010cc8c6336",
     .format = "chatml",
     .source = "teknium/OpenHermes-2.5-Mistral-7B"},
    {.hash = "c1435b9475d6ceaf1f482975d05753ad",
     .format = "chatml",
     .source = "cognitivecomputations/dolphin-2.5-mixtral-8x7b"},
    {.hash = "f61ae84c8713ee3a0bcfa535f7b787fb",
     .format = "chatml",
     .style = kContinuesTheLast,
     .default_system = "You are a helpful assistant",
     .source = "Qwen/Qwen1.5-72B-Chat, as the tests of huggingface.js have it"},
    {.hash = "a3155b00f5fba4dddfb2549983202828",
     .format = "chatml",
     .style = kEndsEveryMessage,
     .default_system = "You are a helpful assistant.",
     .source = "Qwen/Qwen2-7B-Instruct"},
    {.hash = "117bee235d7bc686593f62b1b94fafcf",
     .format = "qwen2.5",
     .source = "Qwen/Qwen2.5-7B-Instruct"},
    {.hash = "a74b6bdd35b783ce90935f312b90c39b", .format = "qwen3", .source = "Qwen/Qwen3-30B-A3B"},
    {.hash = "bd0925e9e6c6d30951a2e12e89a02bac",
     .format = "qwen3",
     .source = "Qwen/Qwen3-8B, later revision"},
    {.hash = "bd618075416abddec8ae84e32cbe8134",
     .format = "qwen3",
     .source = "unsloth/Qwen3-30B-A3B-GGUF"},
    {.hash = "08e62df738a05c00d019913ba6e5a774",
     .format = "qwen3-instruct",
     .source = "Qwen/Qwen3-30B-A3B-Instruct-2507"},
    {.hash = "8b1afa6c6c1b0cd2aec12769a0dc1e8a",
     .format = "qwen3-thinking",
     .source = "Qwen/Qwen3-Next-80B-A3B-Thinking"},
    {.hash = "42cdba968eda8d43aec5b02796be66e9",
     .format = "phi3",
     .style = kSkipsEmptySystem,
     .source = "microsoft/Phi-3.5-MoE-instruct"},
    {.hash = "7ae1ac2fedb5ebbb0e71d9a72179248a",
     .format = "phi3",
     .style = kPrintsEmptySystem,
     .source = "microsoft/Phi-3-mini-4k-instruct"},
    {.hash = "45ddac00d700bd20db80054e5a839371",
     .format = "phi3-first",
     .source = "microsoft/Phi-3-mini-4k-instruct, first version"},
    {.hash = "413e941f8d48d7238a988123c41bd0dc",
     .format = "mixtral",
     .style = kSystemFirst,
     .source = "mistralai/Mixtral-8x7B-Instruct-v0.1"},
    {.hash = "7bf04c66c9ddb8951259a52d973f0547",
     .format = "mixtral",
     .style = kNoSystem,
     .source = "mistralai/Mixtral-8x7B-Instruct-v0.1, first version"},
    {.hash = "8cde32ec66d39ac9a45abdcbf4f3fd32",
     .format = "mixtral",
     .style = kSpaceBehind,
     .source = "mistralai/Mistral-7B-Instruct-v0.1"},
    {.hash = "b62486a1043d5bbc1322cccb3ec08995",
     .format = "mixtral",
     .style = kSystemLast,
     .source = "mistralai/Mixtral-8x22B-Instruct-v0.1 without tools"},
    {.hash = "8b327ebd62ee332128efa7c1d868ca0d",
     .format = "olmoe",
     .style = kBareEnd,
     .source = "allenai/OLMoE-1B-7B-0125-Instruct"},
    {.hash = "b0922caa2271da9e9b8fc1425777fe63",
     .format = "olmoe",
     .style = kLineEnd,
     .source = "allenai/OLMoE-1B-7B-0924-Instruct"},
    {.hash = "e233b0536120bb8591b5dd27f1002fdf",
     .format = "granite",
     .source = "ibm-granite/granite-3.0-1b-a400m-instruct"},
    {.hash = "1b1b58499af6dd86549a7cbb71b0e935",
     .format = "granite-3.1",
     .source = "ibm-granite/granite-3.1-1b-a400m-instruct"},
    {.hash = "50852f4a9b900b98321a0418a849a39e",
     .format = "deepseek-v2",
     .source = "deepseek-ai/DeepSeek-V2-Lite-Chat, as the tests of llama.cpp have it"},
    {.hash = "a30b795c6dd9903116e39b2e768e885c",
     .format = "deepseek-v2.5",
     .style = kDeepSeekIndentation,
     .source = "deepseek-ai/DeepSeek-V2.5, as huggingface.js has it"},
    {.hash = "1ef762fd8906572f73b3794b4a928409",
     .format = "gpt-oss",
     .source = "openai/gpt-oss-20b"},
};

}  // namespace

std::span<const KnownTemplate> KnownTemplates() { return kKnown; }

std::string FingerprintOfTemplate(std::string_view jinja_source) {
  const std::optional<std::string> tokens = JinjaTokens(jinja_source);
  return tokens ? Hasher().Add(std::string_view(*tokens)).Hex() : std::string();
}

const KnownTemplate* FindKnownTemplate(std::string_view jinja_source) {
  const std::string hash = FingerprintOfTemplate(jinja_source);
  const auto known = std::ranges::find(kKnown, hash, &KnownTemplate::hash);
  return known == std::end(kKnown) ? nullptr : &*known;
}

}  // namespace npumoe
