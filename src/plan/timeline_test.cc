#include "plan/timeline.h"

#include <gtest/gtest.h>

#include <sstream>

namespace npumoe {
namespace {

TimelineSpan Span(Engine engine, double start_ms, double end_ms,
                  TimeSource source = TimeSource::kModelled) {
  return {engine, source, 0, 0, "work", start_ms, end_ms};
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Characters on a terminal, of text whose every code point is one column wide.
size_t Columns(const std::string& text) {
  size_t columns = 0;
  for (const char c : text) columns += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return columns;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

TEST(Timeline, AddsUpBusyTimePerEngine) {
  const Timeline timeline{
      {Span(Engine::kCpu, 0, 10), Span(Engine::kNpu, 5, 8), Span(Engine::kCpu, 20, 25)}};
  EXPECT_DOUBLE_EQ(timeline.BusyMs(Engine::kCpu), 15);
  EXPECT_DOUBLE_EQ(timeline.BusyMs(Engine::kNpu), 3);
  EXPECT_DOUBLE_EQ(timeline.EndMs(), 25);
}

TEST(Timeline, CountsTimeOnceWhereSpansOverlap) {
  const Timeline timeline{
      {Span(Engine::kNpu, 4, 10), Span(Engine::kNpu, 0, 6), Span(Engine::kNpu, 1, 2)}};
  EXPECT_DOUBLE_EQ(timeline.BusyMs(Engine::kNpu), 10);
}

TEST(Timeline, DrawsOneRowPerEngineAndAnAxisWithinTheColumns) {
  const Timeline timeline{
      {Span(Engine::kCpu, 0, 50, TimeSource::kMeasured), Span(Engine::kNpu, 50, 100)}};
  const auto lines = Lines(timeline.Draw(80));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].rfind("CPU (measured)", 0), 0u);
  EXPECT_EQ(lines[1].rfind("NPU (modelled)", 0), 0u);
  EXPECT_NE(lines[2].find("100 ms"), std::string::npos);
  for (const std::string& line : lines) EXPECT_LE(Columns(line), 80u) << line;
}

TEST(Timeline, FillsAsMuchOfTheRowAsTheEngineIsBusy) {
  const Timeline timeline{{Span(Engine::kCpu, 0, 50), Span(Engine::kNpu, 50, 100)}};
  const auto lines = Lines(timeline.Draw(78));  // 40 columns of chart
  EXPECT_EQ(Count(lines[0], "█"), 20u);
  EXPECT_EQ(Count(lines[1], "█"), 20u);
  EXPECT_LT(lines[0].find("█"), lines[1].find("█"));
  EXPECT_NE(lines[0].find("50.0 ms, 50%"), std::string::npos);
}

TEST(Timeline, ShadesCellsThatAreBusyInPart) {
  // 40 cells of 1 ms: a fifth, half and four fifths of one.
  const Timeline timeline{{Span(Engine::kCpu, 0, 0.2), Span(Engine::kCpu, 1, 1.5),
                           Span(Engine::kCpu, 2, 2.8), Span(Engine::kNpu, 0, 40)}};
  const auto lines = Lines(timeline.Draw(78));
  EXPECT_NE(lines[0].find("│░▒▓ "), std::string::npos) << lines[0];
}

TEST(Timeline, SaysWhenBothKindsOfTimeAreMixed) {
  const Timeline timeline{
      {Span(Engine::kCpu, 0, 1), Span(Engine::kCpu, 1, 2, TimeSource::kMeasured)}};
  EXPECT_EQ(timeline.Draw(80).rfind("CPU (mixed", 0), 0u);
}

TEST(Timeline, SaysWhenAnEngineOrEverythingIsIdle) {
  EXPECT_EQ(Timeline{}.Draw(80), "(nothing ran)\n");
  const Timeline timeline{{Span(Engine::kCpu, 0, 1)}};
  EXPECT_NE(timeline.Draw(80).find("NPU (idle)"), std::string::npos);
}

TEST(Timeline, StaysReadableOnANarrowTerminal) {
  const Timeline timeline{{Span(Engine::kCpu, 0, 1)}};
  for (const int columns : {-5, 0, 1, 40}) {
    EXPECT_EQ(Count(Lines(timeline.Draw(columns))[0], "█"), 20u);
  }
}

}  // namespace
}  // namespace npumoe
