#include "cli/input.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

#include "base/mapped_file.h"
#include "model/gguf/gguf_model.h"

namespace npumoe::cli {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;  // chosen: far above any prompt or corpus here
constexpr std::string_view kWhiteSpace = " \t\r\n\v\f";

}  // namespace

Result<std::vector<int32_t>> ReadIdsFile(const std::string& path, int vocab_size) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string text,
                          ReadTextFile(path, kMaxTextBytes, FileKind::kAny));
  std::vector<int32_t> ids;
  std::string_view rest = text;
  for (;;) {
    const size_t begin = rest.find_first_not_of(kWhiteSpace);
    if (begin == std::string_view::npos) break;
    rest.remove_prefix(begin);
    const std::string_view word = rest.substr(0, rest.find_first_of(kWhiteSpace));
    int32_t id = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size() || id < 0 || id >= vocab_size) {
      return InvalidInput(
          fmt::format("{}: token {} is '{}'; allowed are whole numbers from 0 to "
                      "{}, separated by white space",
                      path, ids.size() + 1, word.substr(0, 40), vocab_size - 1));
    }
    ids.push_back(id);
    rest.remove_prefix(word.size());
  }
  if (ids.empty()) return InvalidInput(path + ": holds no token ids");
  return ids;
}

Result<std::vector<int32_t>> EncodeText(const Model& model, const std::string& text,
                                        SpecialTokens special) {
  if (model.tokenizer == nullptr) {
    return InvalidInput(fmt::format(
        "{}: the model has no tokenizer, so text cannot be read: give token ids with --ids-file{}",
        model.path.string(),
        IsGgufPath(model.path) ? ", or a GGUF with a tokenizer"
                               : ", or add the model's tokenizer.json to its folder"));
  }
  return model.tokenizer->EncodePrompt(text, special);
}

Result<std::string> ReadText(const std::string& path) {
  return ReadTextFile(path, kMaxTextBytes, FileKind::kAny);
}

}  // namespace npumoe::cli
