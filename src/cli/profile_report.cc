#include "cli/profile_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/table.h"

namespace npumoe::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string ShapesTable(const std::string& title, const char* source,
                        const std::vector<TimedWork>& shapes, const std::vector<double>& fitted) {
  Table table({title, source, "spread", "fitted", "error"});
  for (size_t i = 0; i < shapes.size(); ++i) {
    table.AddRow({shapes[i].what, fmt::format("{:.3f} ms", shapes[i].time_ms),
                  FormatPercent(shapes[i].spread), fmt::format("{:.3f} ms", fitted[i]),
                  fmt::format("{:+.1f}%", 100 * (fitted[i] / shapes[i].time_ms - 1))});
  }
  return table.ToString();
}

OrderedJson ShapesJson(const std::vector<TimedWork>& shapes, const std::vector<double>& fitted) {
  OrderedJson list = OrderedJson::array();
  for (size_t i = 0; i < shapes.size(); ++i) {
    list.push_back({{"shape", shapes[i].what},
                    {"time_ms", shapes[i].time_ms},
                    {"spread", shapes[i].spread},
                    {"fitted_ms", fitted[i]}});
  }
  return list;
}

std::string CopiesTable(const CopyTimes& copies) {
  Table table({"copies", "measured", "spread", "bandwidth"},
              {Align::kLeft, Align::kRight, Align::kRight, Align::kRight});
  for (const TimedWork* copy : {&copies.gather, &copies.combine, &copies.rows}) {
    table.AddRow({copy->what, fmt::format("{:.3f} ms", copy->time_ms), FormatPercent(copy->spread),
                  fmt::format("{:.1f} GB/s", copy->io_bytes / copy->time_ms / 1e6)});
  }
  return table.ToString();
}

OrderedJson CopiesJson(const CopyTimes& copies) {
  OrderedJson list = OrderedJson::array();
  for (const TimedWork* copy : {&copies.gather, &copies.combine, &copies.rows}) {
    list.push_back({{"copy", copy->what},
                    {"bytes", copy->io_bytes},
                    {"time_ms", copy->time_ms},
                    {"spread", copy->spread}});
  }
  return list;
}

OrderedJson ErrorJson(const CostFit& fit) {
  return {{"median", fit.error}, {"worst", fit.worst_error}};
}

std::string ErrorLine(const char* side, const CostFit& fit) {
  return fmt::format("{} fit: median error {}, worst {}\n\n", side, FormatPercent(fit.error),
                     FormatPercent(fit.worst_error));
}

bool IsCost(const FigureOrigin& entry) {
  return entry.key.starts_with("npu.") || entry.key.starts_with("cpu.");
}

std::string FiguresTable(const ChipProfile& profile) {
  Table table({"figure", "value", "spread", "provenance"},
              {Align::kLeft, Align::kRight, Align::kRight, Align::kLeft});
  for (const FigureOrigin& entry : profile.origins) {
    if (!IsCost(entry)) continue;
    const std::string key =
        entry.rows > 0 ? fmt::format("{}, {} rows", entry.key, entry.rows) : entry.key;
    table.AddRow({key, entry.value, entry.spread > 0 ? FormatPercent(entry.spread) : "-",
                  Name(entry.provenance)});
  }
  return table.ToString();
}

}  // namespace

std::string ProfileText(const MeasuredNpu& npu, const std::optional<MeasuredCpu>& cpu,
                        const ChipProfile& profile) {
  const char* source = npu.times.modelled ? "modelled" : "measured";
  std::string text =
      ShapesTable("NPU, one launch", source, npu.times.shapes, npu.fit.fitted_ms) + "\n";
  text += ErrorLine("NPU", npu.fit);
  if (cpu) {
    text += ShapesTable(fmt::format("CPU, {} thread(s)", cpu->threads), "measured",
                        cpu->times.experts, cpu->experts.fitted_ms) +
            "\n";
    text += ErrorLine("CPU", cpu->experts);
    text += CopiesTable(cpu->times.copies) + "\n";
  }
  return text + FiguresTable(profile);
}

std::string ProfileJson(const MeasuredNpu& npu, const std::optional<MeasuredCpu>& cpu,
                        const ChipProfile& profile) {
  OrderedJson json = {{"description", profile.description},
                      {"npu_times", npu.times.modelled ? "modelled" : "measured"},
                      {"npu_fit_error", ErrorJson(npu.fit)},
                      {"npu_shapes", ShapesJson(npu.times.shapes, npu.fit.fitted_ms)}};
  if (cpu) {
    json["cpu_fit_error"] = ErrorJson(cpu->experts);
    json["cpu_shapes"] = ShapesJson(cpu->times.experts, cpu->experts.fitted_ms);
    json["cpu_copies"] = CopiesJson(cpu->times.copies);
  }
  OrderedJson figures = OrderedJson::array();
  for (const FigureOrigin& entry : profile.origins) {
    if (!IsCost(entry)) continue;
    OrderedJson figure = {{"key", entry.key}, {"value", entry.value}};
    if (entry.rows > 0) figure["rows"] = entry.rows;
    figure["spread"] = entry.spread;
    figure["provenance"] = Name(entry.provenance);
    figures.push_back(std::move(figure));
  }
  json["figures"] = std::move(figures);
  return json.dump(2) + "\n";
}

}  // namespace npumoe::cli
