// SegmentWriter: collects a rendered prompt as segments of control text (the template's own) and
// of text from outside; neighbours of one kind become one segment.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "model/chat_template.h"

namespace npumoe {

class SegmentWriter {
 public:
  void Control(std::string_view text) { Append(text, true); }
  void Text(std::string_view text) { Append(text, false); }
  std::vector<ChatSegment> Take() { return std::move(segments_); }

 private:
  void Append(std::string_view text, bool is_control) {
    if (text.empty()) return;
    if (segments_.empty() || segments_.back().is_control != is_control) {
      segments_.push_back({"", is_control});
    }
    segments_.back().text += text;
  }
  std::vector<ChatSegment> segments_;
};

}  // namespace npumoe
