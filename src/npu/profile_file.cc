// ParseChipProfile (profile.h): the strict reader of chips/*.toml. Format: chips/README.md.
#include <fmt/format.h>

#include <cmath>
#include <set>
#include <utility>

#include "base/hash.h"
#include "base/tensor_view.h"
#include "npu/profile.h"
#include "npu/profile_toml.h"
#include "npu/profile_write.h"

namespace npumoe {
namespace {

using Kind = TomlValue::Kind;

constexpr double kMaxSpread = 1.0;  // a figure that may be off by more than all of it is none
constexpr int64_t kMaxBytes = int64_t{1} << 50;
constexpr double kMaxCost = 1e6;  // ms, TFLOP/s, GB/s, W: far above any chip

struct Bounds {
  double min = 0;
  double max = kMaxCost;
  bool min_allowed = false;  // whether `min` itself is
};
constexpr Bounds kPositive{};
constexpr Bounds kSlowdown{.min = 1, .max = 100, .min_allowed = true};
constexpr Bounds kNotNegative{.min = 0, .max = kMaxCost, .min_allowed = true};

// One table of the file. Remembers what was asked for, so that the rest can be refused.
class Section {
 public:
  Section(const TomlValue& table, std::string file, std::string path,
          std::vector<FigureOrigin>& origins)
      : table_(table), file_(std::move(file)), path_(std::move(path)), origins_(origins) {}

  Status Error(const std::string& key, const std::string& what, const TomlValue* at) const {
    const auto line = (at != nullptr ? at : &table_)->line;
    return InvalidInput(fmt::format("{}:{}: '{}': {}", file_, line, FullKey(key), what));
  }

  Result<Section> Table(const std::string& key) {
    NPUMOE_ASSIGN_OR_RETURN(const TomlValue* node, Find(key));
    if (node->kind != Kind::kTable) return Error(key, "is no table", node);
    return Section(*node, file_, FullKey(key), origins_);
  }

  Result<std::string> Text(const std::string& key) {
    NPUMOE_ASSIGN_OR_RETURN(const TomlValue* node, Find(key));
    if (node->kind != Kind::kText || node->text.empty()) {
      return Error(key, "is no text, or an empty one", node);
    }
    return node->text;
  }

  // { value = 4.5, provenance = "measured", spread = 0.2, source = "..." }
  Result<Figure> Number(const std::string& key, const Bounds& bounds) {
    NPUMOE_ASSIGN_OR_RETURN(Section entry, Table(key));
    NPUMOE_ASSIGN_OR_RETURN(Figure figure, entry.ReadFigure(bounds));
    NPUMOE_RETURN_IF_ERROR(entry.RefuseRest());
    return figure;
  }

  Result<int64_t> Integer(const std::string& key, int64_t min, int64_t max) {
    NPUMOE_ASSIGN_OR_RETURN(const Figure figure, Number(key, {static_cast<double>(min),
                                                              static_cast<double>(max), true}));
    if (figure.value != std::floor(figure.value)) {
      return Error(key, fmt::format("{} is no whole number", figure.value), table_.Find(key));
    }
    return static_cast<int64_t>(figure.value);
  }

  // { value = false, ... }
  Result<bool> Flag(const std::string& key) {
    NPUMOE_ASSIGN_OR_RETURN(Section entry, Table(key));
    NPUMOE_ASSIGN_OR_RETURN(const TomlValue* node, entry.Find("value"));
    if (node->kind != Kind::kFlag) return entry.Error("value", "is neither true nor false", node);
    const bool value = node->flag;
    Figure figure;
    const std::string text = value ? "true" : "false";
    NPUMOE_RETURN_IF_ERROR(entry.ReadOrigin(text, text, figure));
    NPUMOE_RETURN_IF_ERROR(entry.RefuseRest());
    return value;
  }

  // { value = ["a", "b"], ... }
  Result<std::vector<std::string>> Texts(const std::string& key) {
    NPUMOE_ASSIGN_OR_RETURN(Section entry, Table(key));
    NPUMOE_ASSIGN_OR_RETURN(const TomlValue* node, entry.Find("value"));
    if (node->kind != Kind::kArray) return entry.Error("value", "is no list", node);
    std::vector<std::string> values;
    for (const TomlValue& item : node->items) {
      if (item.kind != Kind::kText)
        return entry.Error("value", "has an entry that is no text", &item);
      values.push_back(item.text);
    }
    Figure figure;
    NPUMOE_RETURN_IF_ERROR(
        entry.ReadOrigin(fmt::format("{}", fmt::join(values, " ")), TomlTexts(values), figure));
    NPUMOE_RETURN_IF_ERROR(entry.RefuseRest());
    return values;
  }

  // { value = [1, 2], ... }, whole numbers from 1.
  Result<std::vector<int64_t>> Integers(const std::string& key, int64_t max) {
    NPUMOE_ASSIGN_OR_RETURN(Section entry, Table(key));
    NPUMOE_ASSIGN_OR_RETURN(const TomlValue* node, entry.Find("value"));
    if (node->kind != Kind::kArray) return entry.Error("value", "is no list", node);
    std::vector<int64_t> values;
    for (const TomlValue& item : node->items) {
      const bool whole = item.kind == Kind::kNumber && item.number == std::floor(item.number);
      if (!whole || item.number < 1 || item.number > static_cast<double>(max)) {
        return entry.Error(
            "value", fmt::format("has an entry that is no whole number from 1 to {}", max), &item);
      }
      values.push_back(static_cast<int64_t>(item.number));
    }
    Figure figure;
    NPUMOE_RETURN_IF_ERROR(entry.ReadOrigin(fmt::format("{}", fmt::join(values, " ")),
                                            fmt::format("[{}]", fmt::join(values, ", ")), figure));
    NPUMOE_RETURN_IF_ERROR(entry.RefuseRest());
    return values;
  }

  bool Has(const std::string& key) const { return table_.Find(key) != nullptr; }

  // [ { rows = 16, value = 2.2, ... }, ... ], rows ascending.
  Result<std::vector<RatePoint>> Rates(const std::string& key) {
    NPUMOE_ASSIGN_OR_RETURN(const TomlValue* node, Find(key));
    if (node->kind != Kind::kArray || node->items.empty()) {
      return Error(key, "is no list of points by rows", node);
    }
    std::vector<RatePoint> points;
    for (const TomlValue& item : node->items) {
      const std::string name = fmt::format("{}[{}]", key, points.size());
      if (item.kind != Kind::kTable) return Error(name, "is no table", &item);
      Section entry(item, file_, FullKey(name), origins_);
      RatePoint point;
      NPUMOE_ASSIGN_OR_RETURN(point.rows, entry.PlainNumber("rows", {.min = 0, .max = 1e6}));
      if (!points.empty() && point.rows <= points.back().rows) {
        return entry.Error("rows", "must grow from point to point", &item);
      }
      NPUMOE_ASSIGN_OR_RETURN(point.rate, entry.ReadFigure(kPositive));
      origins_.back().rows = point.rows;
      NPUMOE_RETURN_IF_ERROR(entry.RefuseRest());
      points.push_back(std::move(point));
    }
    return points;
  }

  // Call last: whatever nobody asked for is a spelling mistake or a newer format.
  Status RefuseRest() const {
    for (const std::string& key : table_.keys) {
      if (used_.contains(key)) continue;
      return Error(key, "is not a key of this table; see chips/README.md", table_.Find(key));
    }
    return OkStatus();
  }

 private:
  std::string FullKey(const std::string& key) const {
    return path_.empty() ? key : path_ + "." + key;
  }

  Result<const TomlValue*> Find(const std::string& key) {
    used_.insert(key);
    const TomlValue* node = table_.Find(key);
    if (node == nullptr) return Error(key, "is missing", nullptr);
    return node;
  }

  Result<double> PlainNumber(const std::string& key, const Bounds& bounds) {
    NPUMOE_ASSIGN_OR_RETURN(const TomlValue* node, Find(key));
    if (node->kind != Kind::kNumber) return Error(key, "is no number", node);
    const double value = node->number;
    const bool above = bounds.min_allowed ? value >= bounds.min : value > bounds.min;
    if (!above || value > bounds.max) {
      return Error(key,
                   fmt::format("is {}; allowed are numbers {} {} up to {}", value,
                               bounds.min_allowed ? "from" : "above", bounds.min, bounds.max),
                   node);
    }
    return value;
  }

  Result<Figure> ReadFigure(const Bounds& bounds) {
    Figure figure;
    NPUMOE_ASSIGN_OR_RETURN(figure.value, PlainNumber("value", bounds));
    const std::string text = fmt::format("{}", figure.value);
    NPUMOE_RETURN_IF_ERROR(ReadOrigin(text, text, figure));
    return figure;
  }

  // provenance, spread (0 where the value is exact) and source.
  Status ReadOrigin(const std::string& value, const std::string& literal, Figure& figure) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string provenance, Text("provenance"));
    bool known = false;
    for (Provenance p : {Provenance::kMeasured, Provenance::kDeclared, Provenance::kAssumed}) {
      if (provenance != Name(p)) continue;
      figure.provenance = p;
      known = true;
    }
    if (!known) {
      return Error("provenance",
                   fmt::format("is '{}'; allowed are measured, declared, assumed", provenance),
                   table_.Find("provenance"));
    }
    if (table_.Find("spread") != nullptr) {
      NPUMOE_ASSIGN_OR_RETURN(
          figure.spread, PlainNumber("spread", {.min = 0, .max = kMaxSpread, .min_allowed = true}));
    }
    NPUMOE_ASSIGN_OR_RETURN(figure.source, Text("source"));
    origins_.push_back({path_, value, figure.provenance, figure.spread, figure.source, literal, 0});
    return OkStatus();
  }

  const TomlValue& table_;
  std::string file_;
  std::string path_;
  std::vector<FigureOrigin>& origins_;
  std::set<std::string> used_;
};

Status ReadNpu(Section section, NpuCosts& npu) {
  NPUMOE_ASSIGN_OR_RETURN(npu.launch_ms, section.Number("launch_ms", kNotNegative));
  NPUMOE_ASSIGN_OR_RETURN(npu.sync_ms, section.Number("sync_ms", kNotNegative));
  NPUMOE_ASSIGN_OR_RETURN(npu.tflops, section.Rates("tflops"));
  NPUMOE_ASSIGN_OR_RETURN(npu.stream_gb_per_s, section.Number("stream_gb_per_s", kPositive));
  NPUMOE_ASSIGN_OR_RETURN(npu.io_gb_per_s, section.Number("io_gb_per_s", kPositive));
  NPUMOE_ASSIGN_OR_RETURN(npu.idle_w, section.Number("idle_w", kNotNegative));
  const Bounds above_idle{.min = npu.idle_w.value, .max = kMaxCost, .min_allowed = true};
  NPUMOE_ASSIGN_OR_RETURN(npu.stream_w, section.Number("stream_w", above_idle));
  NPUMOE_ASSIGN_OR_RETURN(npu.compute_w, section.Number("compute_w", above_idle));
  NPUMOE_ASSIGN_OR_RETURN(npu.cost_follows_rows, section.Flag("cost_follows_rows"));
  if (section.Has("slowdown_beside_cpu")) {
    NPUMOE_ASSIGN_OR_RETURN(npu.slowdown_beside_cpu,
                            section.Number("slowdown_beside_cpu", kSlowdown));
  }
  return section.RefuseRest();
}

Status ReadCpu(Section section, CpuCosts& cpu) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t threads, section.Integer("threads", 1, 4096));
  cpu.threads = static_cast<int>(threads);
  NPUMOE_ASSIGN_OR_RETURN(cpu.gflops, section.Rates("gflops"));
  NPUMOE_ASSIGN_OR_RETURN(cpu.bandwidth_gb_per_s, section.Number("bandwidth_gb_per_s", kPositive));
  NPUMOE_ASSIGN_OR_RETURN(cpu.copy_gb_per_s, section.Number("copy_gb_per_s", kPositive));
  if (section.Has("gather_gb_per_s")) {
    NPUMOE_ASSIGN_OR_RETURN(cpu.gather_gb_per_s, section.Number("gather_gb_per_s", kPositive));
  }
  if (section.Has("combine_gb_per_s")) {
    NPUMOE_ASSIGN_OR_RETURN(cpu.combine_gb_per_s, section.Number("combine_gb_per_s", kPositive));
  }
  NPUMOE_ASSIGN_OR_RETURN(cpu.idle_w, section.Number("idle_w", kNotNegative));
  NPUMOE_ASSIGN_OR_RETURN(cpu.active_w,
                          section.Number("active_w", {cpu.idle_w.value, kMaxCost, true}));
  if (section.Has("slowdown_beside_npu")) {
    NPUMOE_ASSIGN_OR_RETURN(cpu.slowdown_beside_npu,
                            section.Number("slowdown_beside_npu", kSlowdown));
  }
  return section.RefuseRest();
}

// [limits.graph]
Status ReadGraphLimits(Section section, GraphLimits& limits) {
  struct Count {
    const char* key;
    int64_t GraphLimits::*limit;
  };
  for (const Count& count :
       {Count{"max_batch", &GraphLimits::max_batch},
        Count{"last_axis_bytes", &GraphLimits::last_axis_bytes},
        Count{"min_last_axis", &GraphLimits::min_last_axis},
        Count{"tile_bytes", &GraphLimits::tile_bytes},
        Count{"working_set_bytes", &GraphLimits::working_set_bytes},
        Count{"max_run_time_weight_batch", &GraphLimits::max_run_time_weight_batch},
        Count{"max_kernel_width", &GraphLimits::max_kernel_width},
        Count{"max_kernel_height", &GraphLimits::max_kernel_height},
        Count{"max_arg_reduce", &GraphLimits::max_arg_reduce},
        Count{"max_product_depth", &GraphLimits::max_product_depth},
        Count{"kernel_memory_bytes", &GraphLimits::kernel_memory_bytes},
        Count{"accurate_products", &GraphLimits::accurate_products},
        Count{"group_products", &GraphLimits::group_products},
        Count{"group_cores", &GraphLimits::group_cores},
        Count{"branches", &GraphLimits::branches},
        Count{"min_table_group", &GraphLimits::min_table_group},
        Count{"max_table_stride", &GraphLimits::max_table_stride},
        Count{"streamed_weight_bytes", &GraphLimits::streamed_weight_bytes},
        Count{"fast_compile_bytes", &GraphLimits::fast_compile_bytes},
        Count{"placed_parameters", &GraphLimits::placed_parameters},
        Count{"system_version", &GraphLimits::system_version}}) {
    NPUMOE_ASSIGN_OR_RETURN(limits.*count.limit, section.Integer(count.key, 1, kMaxBytes));
  }
  struct Switch {
    const char* key;
    bool GraphLimits::*limit;
  };
  for (const Switch& flag :
       {Switch{"refuses_int32_cast", &GraphLimits::refuses_int32_cast},
        Switch{"prefers_convolutions", &GraphLimits::prefers_convolutions},
        Switch{"refuses_state", &GraphLimits::refuses_state},
        Switch{"refuses_run_time_slices", &GraphLimits::refuses_run_time_slices},
        Switch{"clamps_slices", &GraphLimits::clamps_slices},
        Switch{"refuses_block_scales", &GraphLimits::refuses_block_scales},
        Switch{"refuses_int8_activations", &GraphLimits::refuses_int8_activations},
        Switch{"expands_int8", &GraphLimits::expands_int8}}) {
    NPUMOE_ASSIGN_OR_RETURN(limits.*flag.limit, section.Flag(flag.key));
  }
  NPUMOE_ASSIGN_OR_RETURN(limits.activation_types, section.Texts("activation_types"));
  NPUMOE_ASSIGN_OR_RETURN(limits.conv_strides, section.Integers("conv_strides", 1 << 20));
  NPUMOE_ASSIGN_OR_RETURN(limits.table_bits, section.Integers("table_bits", 16));
  return section.RefuseRest();
}

Status ReadLimits(Section section, NpuLimits& limits) {
  NPUMOE_ASSIGN_OR_RETURN(limits.max_programs, section.Integer("max_programs", 1, 1 << 20));
  NPUMOE_ASSIGN_OR_RETURN(limits.max_program_bytes,
                          section.Integer("max_program_bytes", 1, kMaxBytes));
  NPUMOE_ASSIGN_OR_RETURN(limits.max_weight_file_bytes,
                          section.Integer("max_weight_file_bytes", 1, kMaxBytes));
  NPUMOE_ASSIGN_OR_RETURN(limits.max_axis, section.Integer("max_axis", 1, 1 << 30));
  NPUMOE_ASSIGN_OR_RETURN(limits.max_channels, section.Integer("max_channels", 1, 1 << 30));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t rank, section.Integer("max_rank", 1, Shape::kMaxRank));
  limits.max_rank = static_cast<int>(rank);
  NPUMOE_ASSIGN_OR_RETURN(limits.max_requests_in_flight,
                          section.Integer("max_requests_in_flight", 1, 1 << 20));
  NPUMOE_ASSIGN_OR_RETURN(limits.capacity_quantum, section.Integer("capacity_quantum", 1, 1 << 20));
  NPUMOE_ASSIGN_OR_RETURN(limits.workers, section.Integer("workers", 0, 64));
  NPUMOE_ASSIGN_OR_RETURN(limits.refused_ops, section.Texts("refused_ops"));
  NPUMOE_ASSIGN_OR_RETURN(limits.refused_forms, section.Texts("refused_forms"));
  if (section.Has("graph")) {
    NPUMOE_ASSIGN_OR_RETURN(Section graph, section.Table("graph"));
    NPUMOE_RETURN_IF_ERROR(ReadGraphLimits(std::move(graph), limits.graph));
  }
  for (const std::string& form : limits.refused_forms) {
    if (form != "A" && form != "B" && form != "C") {
      return section.Error("refused_forms", fmt::format("holds '{}'; forms are A, B, C", form),
                           nullptr);
    }
  }
  return section.RefuseRest();
}

}  // namespace

Result<ChipProfile> ParseChipProfile(std::string_view text, const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const TomlValue file, ParseToml(text, name));
  ChipProfile profile;
  profile.name = name;
  Section root(file, name, "", profile.origins);
  NPUMOE_ASSIGN_OR_RETURN(profile.description, root.Text("description"));
  NPUMOE_ASSIGN_OR_RETURN(
      profile.memory_bytes,
      root.Number("memory_bytes", {.min = 0, .max = static_cast<double>(kMaxBytes)}));
  NPUMOE_ASSIGN_OR_RETURN(Section npu, root.Table("npu"));
  NPUMOE_RETURN_IF_ERROR(ReadNpu(std::move(npu), profile.npu));
  NPUMOE_ASSIGN_OR_RETURN(Section cpu, root.Table("cpu"));
  NPUMOE_RETURN_IF_ERROR(ReadCpu(std::move(cpu), profile.cpu));
  NPUMOE_ASSIGN_OR_RETURN(Section limits, root.Table("limits"));
  NPUMOE_RETURN_IF_ERROR(ReadLimits(std::move(limits), profile.limits));
  NPUMOE_RETURN_IF_ERROR(root.RefuseRest());
  profile.hash = Hasher().Add(text).Hex();
  profile.toml = std::string(text);
  return profile;
}

}  // namespace npumoe
