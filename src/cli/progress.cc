#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "cli/table.h"

namespace npumoe::cli {
namespace {

constexpr double kRedrawMs = 100;  // chosen: smooth to the eye, cheap on a slow terminal
constexpr double kQuietMs = 2000;  // chosen: short work prints no lines into a log
constexpr int kBarColumns = 24;

std::string Remaining(double elapsed_ms, int64_t done, int64_t total) {
  if (done <= 0) return "";
  const double ms = elapsed_ms * static_cast<double>(total - done) / static_cast<double>(done);
  const auto seconds = static_cast<int64_t>(ms / 1000 + 0.5);
  return fmt::format("{}:{:02} left", seconds / 60, seconds % 60);
}

}  // namespace

Progress::Progress(std::string label, std::string unit, Visibility visibility)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      shown_(visibility == Visibility::kShown),
      terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { Clear(); }

void Progress::Clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

void Progress::Update(int64_t done, int64_t total) {
  if (!shown_ || total <= 0) return;
  if (terminal_) {
    DrawBar(done, total);
  } else {
    PrintLine(done, total);
  }
}

void Progress::DrawBar(int64_t done, int64_t total) {
  const double now_ms = watch_.ElapsedMs();
  if (done >= total) return Clear();  // the answer comes next
  if (now_ms - last_draw_ms_ < kRedrawMs) return;
  last_draw_ms_ = now_ms;
  drawn_ = true;
  const auto filled = static_cast<size_t>(kBarColumns * std::min(done, total) / total);
  std::string bar(filled, '=');
  bar.resize(kBarColumns, ' ');
  const double rate = static_cast<double>(done) / std::max(now_ms, 1.0) * 1000;
  fmt::print(stderr, "\r\033[K{} [{}] {}/{} {}  {:.0f}/s  {}", label_, bar, FormatCount(done),
             FormatCount(total), unit_, rate, Remaining(now_ms, done, total));
  std::fflush(stderr);
}

void Progress::PrintLine(int64_t done, int64_t total) {
  const double now_ms = watch_.ElapsedMs();
  const int64_t tenth = done * 10 / total;
  if (tenth == last_tenth_ || now_ms < kQuietMs) return;
  last_tenth_ = tenth;
  const double rate = static_cast<double>(done) / std::max(now_ms, 1.0) * 1000;
  fmt::print(stderr, "{}: {}/{} {} ({:.0f}/s, {})\n", label_, FormatCount(done), FormatCount(total),
             unit_, rate, Remaining(now_ms, done, total));
}

}  // namespace npumoe::cli
