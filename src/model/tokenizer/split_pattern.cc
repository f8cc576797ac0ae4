#include "model/tokenizer/split_pattern.h"

#include "model/tokenizer/oniguruma_pattern.h"
#include "model/tokenizer/unicode_versions.h"
#include "model/tokenizer/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace npumoe {
namespace {

// PCRE2's compiled code grows with its stack only for nested groups; patterns of tokenizers need
// little. Chosen: far above any seen, far below a thread's memory.
constexpr size_t kStackStartBytes = size_t{32} << 10;
constexpr size_t kStackMaxBytes = size_t{8} << 20;
constexpr uint32_t kMaxHeapKiB = 64 << 10;       // of the interpreter, where there is no compiler
constexpr uint32_t kMaxBacktracks = 10'000'000;  // PCRE2's default, fixed here

// Longest pattern that is compiled; those of published tokenizers stay below 1,000 bytes.
constexpr size_t kMaxPatternBytes = 16 << 10;

std::string ErrorText(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

PCRE2_SPTR Bytes(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

struct PatternWorkspace::State {
  State()
      : match_data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kStackStartBytes, kStackMaxBytes, nullptr)) {
    pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_match_limit(context, kMaxBacktracks);
    pcre2_set_heap_limit(context, kMaxHeapKiB);
  }
  ~State() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(match_data);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  pcre2_match_data* match_data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

PatternWorkspace::PatternWorkspace() : state_(std::make_unique<State>()) {}
PatternWorkspace::~PatternWorkspace() = default;

struct SplitPattern::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  pcre2_code* code;
};

Result<SplitPattern> SplitPattern::FromRegex(const std::string& regex, const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string pattern, TranslateOnigurumaPattern(regex, name));
  // In Oniguruma's Ruby syntax ^ and $ always match at lines.
  return Compile(pattern, PCRE2_MULTILINE, name);
}

Result<SplitPattern> SplitPattern::FromLiteral(const std::string& literal,
                                               const std::string& name) {
  return Compile(literal, PCRE2_LITERAL, name);
}

Result<SplitPattern> SplitPattern::Compile(const std::string& pattern, uint32_t options,
                                           const std::string& name) {
  if (pattern.size() > kMaxPatternBytes) {
    return Unsupported(name + ": the pattern has " + std::to_string(pattern.size()) +
                       " bytes, allowed are " + std::to_string(kMaxPatternBytes));
  }
  const uint32_t unicode = (options & PCRE2_LITERAL) ? PCRE2_UTF : PCRE2_UTF | PCRE2_UCP;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(Bytes(pattern), pattern.size(), options | unicode, &error, &offset, context);
  pcre2_compile_context_free(context);
  if (code == nullptr) {
    return InvalidInput(name + ": the pattern does not compile: " + ErrorText(error) +
                        " (at byte " + std::to_string(offset) + " of '" + pattern + "')");
  }
  // Without permission to write code (hardened systems) this fails and PCRE2 interprets instead.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  SplitPattern split(name);
  split.code_ = std::make_shared<const Code>(code);
  return split;
}

Status SplitPattern::Split(std::string_view text, PatternWorkspace* workspace,
                           const PieceSink& sink) const {
  std::string stand_ins;
  const std::string_view subject = ReplaceRecentCharacters(text, &stand_ins) ? stand_ins : text;
  const PatternWorkspace::State& state = *workspace->state_;
  const PCRE2_SIZE* match = pcre2_get_ovector_pointer(state.match_data);
  const auto emit = [&](size_t begin, size_t end) {
    return begin == end ? OkStatus() : sink(text.substr(begin, end - begin));
  };
  size_t piece_begin = 0;
  size_t search_from = 0;
  bool has_matched = false;
  while (search_from <= subject.size()) {
    const int found = pcre2_match(code_->code, Bytes(subject), subject.size(), search_from,
                                  PCRE2_NO_UTF_CHECK, state.match_data, state.context);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return ResourceExhausted(name_ + ": the pattern gave up on this text: " + ErrorText(found) +
                               "; shorten the text or use another tokenizer");
    }
    const size_t begin = match[0];
    const size_t end = match[1];
    // As the reference: an empty match right behind the last match does not count.
    if (begin == end && has_matched && end == piece_begin) {
      if (search_from >= subject.size()) break;
      search_from += ReadUtf8(subject, search_from).bytes;
      continue;
    }
    NPUMOE_RETURN_IF_ERROR(emit(piece_begin, begin));
    NPUMOE_RETURN_IF_ERROR(emit(begin, end));
    has_matched = true;
    piece_begin = end;
    search_from = end;
  }
  return emit(piece_begin, text.size());
}

}  // namespace npumoe
