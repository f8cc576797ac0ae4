#include "model/tokenizer/gguf_patterns.h"

namespace npumoe {
namespace {

// Each pattern is a fact of the models that were trained with it.
constexpr char kQwen2[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n])"
    R"(*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr char kLlama3[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[)"
    R"(\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr char kO200k[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|')"
    R"(t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm)"
    R"(}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s)"
    R"(*[\r\n]+|\s+(?!\S)|\s+)";

constexpr char kNumber[] = R"(\p{N})";
constexpr char kNumbers[] = R"(\p{N}+)";

// DeepSeek's first tokenizers: letters of scripts with cases, punctuation, Chinese to Korean.
constexpr char kLineEnd[] = R"([\r\n])";
constexpr char kDeepSeekLetters[] =
    R"(\s?[A-Za-z)"
    R"(µÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-Ჺ)"
    R"(Ჽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-)"
    R"(ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-)"
    R"(ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃)"
    R"(]+)";
constexpr char kDeepSeekPunctuation[] = R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)";
constexpr char kTrailingSpace[] = R"(\s+$)";
constexpr char kDeepSeekHan[] = R"([一-龥ࠀ-一가-퟿]+)";

// DeepSeek-V3's.
constexpr char kThreeDigits[] = R"(\p{N}{1,3})";
constexpr char kDeepSeekV3Han[] = R"([一-龥぀-ゟ゠-ヿ]+)";
constexpr char kDeepSeekV3[] =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Cuts with `patterns`, one after the other, and spells the bytes.
std::vector<PreTokenizerStep> Cut(const std::vector<const char*>& patterns,
                                  ByteLevelStep byte_level = {}) {
  std::vector<PreTokenizerStep> steps;
  steps.reserve(patterns.size() + 1);
  for (const char* pattern : patterns) {
    steps.emplace_back(SplitStep{SplitStep::Kind::kRegex, pattern});
  }
  steps.emplace_back(byte_level);
  return steps;
}

// As Cut, with GPT-2's pattern last.
std::vector<PreTokenizerStep> CutAsGpt2(const std::vector<const char*>& patterns) {
  return Cut(patterns, {.use_regex = true});
}

}  // namespace

// The first name of a row is what files get; a later row with the same name is another spelling
// that files in Hugging Face's format use for the same cuts.
std::vector<GgufPattern> GgufPatterns() {
  const auto deepseek = [](const char* numbers) {
    return Cut(
        {kLineEnd, kDeepSeekLetters, kDeepSeekPunctuation, kTrailingSpace, kDeepSeekHan, numbers});
  };
  return {
      {.names = {"gpt-2", "phi-2"}, .steps = CutAsGpt2({})},
      {.names = {"olmo"}, .steps = CutAsGpt2({}), .composes = true},
      {.names = {"qwen2", "deepseek-r1-qwen"}, .steps = Cut({kQwen2}), .composes = true},
      {.names = {"stablelm2"}, .steps = Cut({kQwen2})},
      {.names = {"llama-bpe", "llama3", "llama-v3"},
       .steps = Cut({kLlama3}),
       .ignores_merges = true,
       .adds_bos = true},
      {.names = {"dbrx", "smaug-bpe"}, .steps = Cut({kLlama3})},
      {.names = {"gpt-4o", "llama4"}, .steps = Cut({kO200k}), .ignores_merges = true},
      {.names = {"deepseek-llm"}, .steps = deepseek(kNumbers)},
      {.names = {"deepseek-llm"}, .steps = deepseek(kNumber)},
      {.names = {"deepseek-coder"},
       .steps = Cut({kLineEnd, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepSeekHan, kNumber})},
      {.names = {"deepseek-v3"}, .steps = Cut({kThreeDigits, kDeepSeekV3Han, kDeepSeekV3})},
      {.names = {"refact", "starcoder", "command-r", "smollm", "codeshell"},
       .steps = CutAsGpt2({kNumber})},
      {.names = {"default"},
       .steps = Cut({R"([\p{P}\$\+<=>\^~\|]+)",
                     R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))",
                     kNumbers, "[0-9][0-9][0-9]"})},
  };
}

}  // namespace npumoe
