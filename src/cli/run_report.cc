#include "cli/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/placement_text.h"
#include "cli/table.h"

namespace npumoe::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

double Share(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

OrderedJson CountsJson(const DispatchCounts& counts) {
  return {{"launches", counts.launches},         {"capacity_rows", counts.capacity_rows},
          {"filled_rows", counts.filled_rows},   {"padding_rows", counts.padding_rows()},
          {"spilled_rows", counts.spilled_rows}, {"dropped_rows", counts.dropped_rows},
          {"cpu_rows", counts.cpu_rows}};
}

// On a device whose times are modelled, prefill time is measured CPU work and modelled NPU work
// on one timeline.
OrderedJson TimesJson(const Engine& engine, const Generation& g) {
  OrderedJson times = {{"prompt_tokens", g.prefill.tokens},
                       {"prefill_ms", g.prefill.time_ms},
                       {"prefill_source", engine.PrefillTimeSource()},
                       {"generated_tokens", g.ids.size()},
                       {"decode_steps", g.decode_steps},
                       {"decode_ms", g.decode_ms},
                       {"decode_tokens_per_s", g.DecodeTokensPerSecond()},
                       {"decode_source", "measured"}};
  if (g.computed_again.times > 0) {
    times["computed_again_tokens"] = g.computed_again.tokens;
    times["computed_again_before_decode_ms"] = g.computed_again.time_ms;
  }
  if (engine.uses_npu()) times["npu_energy_j_modelled"] = g.prefill.npu_energy_j;
  return times;
}

// The cost of a context that passed a LongRoPE model's border.
std::string ComputedAgainText(const Engine& engine, const Generation& g) {
  if (g.computed_again.times == 0) return "";
  std::string text = fmt::format(
      "again    {} tokens of the context computed again: it passed the length up to which the "
      "model's short rotary factors reach",
      FormatCount(g.computed_again.tokens));
  if (g.computed_again.time_ms > 0) {
    text += fmt::format("; {} before decoding ({})", FormatMs(g.computed_again.time_ms),
                        engine.PrefillTimeSource());
  }
  return text + "\n";
}

}  // namespace

std::string RunReportText(const Engine& engine, const Generation& g) {
  const PrefillResult& p = g.prefill;
  std::string text = fmt::format("prefill  {} tokens in {} ({})\n", p.tokens, FormatMs(p.time_ms),
                                 engine.PrefillTimeSource());
  text += fmt::format("decode   {} tokens, {:.1f}/s (measured), stopped: {}\n", g.ids.size(),
                      g.DecodeTokensPerSecond(), Name(g.stop));
  text += ComputedAgainText(engine, g);
  if (!engine.uses_npu()) return text;
  const DispatchCounts& c = p.counts;
  const PlacementReport placement = engine.npu->report();
  const std::string energy =  // no real device tells it
      placement.modelled ? fmt::format(", {} NPU energy (modelled)", FormatJoules(p.npu_energy_j))
                         : "";
  text += fmt::format(
      "npu      {} launches, {} of expert rows on the NPU, {} padding, {} spilled, {} dropped{}\n",
      FormatCount(c.launches), FormatPercent(Share(c.filled_rows, c.assignments())),
      FormatPercent(Share(c.padding_rows(), c.capacity_rows)), FormatCount(c.spilled_rows),
      FormatCount(c.dropped_rows), energy);
  text += PlacementText(placement);
  text += p.timeline.Draw(78);
  return text;
}

std::string RunReportJson(const Engine& engine, const Generation& g, uint64_t seed) {
  OrderedJson report = {{"text", g.text},
                        {"ids", g.ids},
                        {"stop", Name(g.stop)},
                        {"seed", seed},
                        {"times", TimesJson(engine, g)}};
  if (engine.uses_npu()) {
    report["dispatch"] = CountsJson(g.prefill.counts);
    report["placement"] = ToJson(engine.npu->report());
  }
  return report.dump(2, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace npumoe::cli
