#include "cli/placement_text.h"

#include <fmt/format.h>

#include "cli/table.h"

namespace npumoe::cli {
namespace {

// A load that somebody notices; chosen.
constexpr double kSlowLoadMs = 10e3;

std::string Counted(int64_t count, const char* one, const char* several) {
  return fmt::format("{} {}", FormatCount(count), count == 1 ? one : several);
}

// Attention and head programs, where the plan has them.
std::string DenseText(const PlacementReport& placement) {
  int64_t attention_programs = 0, beyond = 0, heads = 0;
  for (const ProgramPlacement& program : placement.programs) {
    if (program.id.kind == ProgramKind::kHead) ++heads;
    if (program.id.kind != ProgramKind::kAttention) continue;
    ++attention_programs;
    beyond += program.spilled_rows;
  }
  std::string text;
  if (attention_programs > 0) {
    text += fmt::format(
        "         attention: {} launches, {} rows behind longer histories on the CPU\n",
        FormatCount(placement.LaunchesOf(ProgramKind::kAttention)), FormatCount(beyond));
  }
  if (heads > 0) {
    text += fmt::format("         vocabulary head: {}\n",
                        Counted(placement.LaunchesOf(ProgramKind::kHead), "launch", "launches"));
  }
  return text;
}

}  // namespace

std::string HealthText(const DeviceHealth& health) {
  if (health.restarts == 0 && health.replays == 0 && health.events.empty()) return "";
  std::string text = fmt::format(
      "workers  {}, {}", Counted(health.restarts, "restart", "restarts"),
      Counted(health.replays, "launch or load done again", "launches and loads done again"));
  for (const DeviceHealth::Event& event : health.events) {
    text += fmt::format("{} {}", &event == &health.events.front() ? ":" : ";", event.reason);
    if (event.count > 1) text += fmt::format(" ({} times)", FormatCount(event.count));
  }
  return text + "\n";
}

std::string PlacementText(const PlacementReport& report) {
  std::string text = DenseText(report);
  for (const ProgramPlacement& program : report.programs) {
    const std::string where = Describe(program.id);
    if (program.load_ms >= kSlowLoadMs) {
      text += fmt::format("loaded   slowly, {}: {} ({})\n", where, FormatMs(program.load_ms),
                          program.load_is_modelled ? "modelled" : "measured");
    }
    for (const Degradation& d : program.degradations) {
      const std::string times = d.count > 1 ? fmt::format(", {} times", FormatCount(d.count)) : "";
      text += d.what == kPlacedElsewhere
                  ? fmt::format("placed   elsewhere, {}{}: {}\n", where, times, d.reason)
                  : fmt::format("degraded {} of {}{}: {}\n", d.what, where, times, d.reason);
    }
    if (program.came_back) {
      text += fmt::format("returned {} after a pause, {}\n", where,
                          program.in_service ? "in service since" : "and failed again");
    }
  }
  return text + HealthText(report.health);
}

}  // namespace npumoe::cli
