// PreTokenizer: cuts normalized text into the pieces that BPE merges on their own.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/split_pattern.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

// Whether a text begins where the whole input does.
enum class TextPlace { kBegin, kInside };

class PreTokenizer {
 public:
  // The steps in their order; compiles every pattern. `name` starts every message.
  static Result<PreTokenizer> Build(const std::vector<PreTokenizerStep>& steps,
                                    const std::string& name);

  // Calls `sink` with the bytes of every piece; the view is valid during the call only. Ends
  // with the first error of `sink`.
  Status Split(std::string_view text, TextPlace place, PatternWorkspace* workspace,
               const PieceSink& sink) const;

 private:
  Status RunFrom(size_t index, std::string_view text, PatternWorkspace* workspace,
                 const PieceSink& sink) const;
  Status ByteLevel(std::string_view text, PatternWorkspace* workspace, const PieceSink& sink) const;
  Status Metaspace(std::string_view text, TextPlace place, const PieceSink& sink) const;

  std::optional<MetaspaceStep> metaspace_;  // then there are no patterns
  std::vector<SplitPattern> patterns_;      // one after the other, each on the pieces of the last
  bool is_byte_level_ = false;
  bool add_prefix_space_ = false;  // to every piece without one, before the last pattern
  size_t patterns_before_space_ = 0;
};

}  // namespace npumoe
