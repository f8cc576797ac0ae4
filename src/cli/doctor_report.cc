#include "cli/doctor_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "cli/cache_facts.h"
#include "cli/device_check.h"
#include "cli/devices.h"
#include "cli/engine.h"
#include "cli/machine.h"
#include "cli/table.h"
#include "cli/version.h"
#include "kernels/targets.h"
#include "npu/profile.h"

extern char** environ;

namespace npumoe::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr size_t kMostCacheEntries = 40;            // chosen: the largest say enough
constexpr size_t kMostShownEntries = 10;            // of them, to people
constexpr const char* kFallbackProfile = "m2-max";  // for machines without a profile of theirs

OrderedJson DescribeBuild() {
  return {{"version", kVersion},
          {"compiler", kCompiler},
          {"build", kBuildType},
          {"flags", NPUMOE_BUILD_FLAGS}};
}

OrderedJson MachineJson(const MachineFacts& machine) {
  return {{"system", machine.system},
          {"system_build", machine.build},
          {"chip", machine.chip},
          {"architecture", machine.architecture},
          {"processors", machine.processors},
          {"memory_bytes", machine.memory_bytes},
          {"cpu_features", machine.features},
          {"kernels", KernelTargetName()}};
}

OrderedJson DescribeSettings() {
  std::vector<std::string> names;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (text.starts_with("NPUMOE_")) names.emplace_back(text.substr(0, text.find('=')));
  }
  std::ranges::sort(names);
  return names;
}

OrderedJson CacheJson() {
  const std::filesystem::path folder = DefaultCacheFolder();
  const CacheFacts cache = DescribeCache(folder);
  OrderedJson largest = OrderedJson::array();
  for (const CacheEntry& entry : cache.entries) {
    if (largest.size() == kMostCacheEntries) break;
    largest.push_back({{"name", entry.name}, {"bytes", entry.bytes}});
  }
  return {{"folder", folder.string()},
          {"entries", cache.entries.size()},
          {"bytes", cache.bytes},
          {"largest", largest}};
}

// Without the numbers of what did not happen. What is infinitely wrong has no JSON number.
OrderedJson ToJson(const SelfTest& test) {
  OrderedJson json = {{"device", test.device},
                      {"ok", test.status.ok()},
                      {"result", test.status.ok() ? "right" : test.status.message()},
                      {"description", test.info.description},
                      {"version", test.info.version},
                      {"isolated", test.is_isolated}};
  if (test.load_ms) json["load_ms"] = *test.load_ms;
  if (test.launch) {
    json["launch_ms"] = test.launch->time_ms;
    json["launch_time"] = test.launch->modelled ? "modelled" : "measured";
  }
  if (test.error) json["error"] = *test.error;
  if (test.error && !std::isfinite(*test.error)) json["error"] = "infinite";
  if (!test.status.ok()) json["code"] = Name(test.status.code());
  if (test.plan) {
    json["plan"] = {{"operations", test.plan->operations},
                    {"on_device", test.plan->on_device},
                    {"elsewhere", test.plan->elsewhere}};
  }
  return json;
}

OrderedJson TestDevices(const std::string& profile_name) {
  OrderedJson tests = OrderedJson::array();
  const auto profile = LoadChipProfile(profile_name, ChipFolders());
  ThreadPool pool;
  for (const std::string& device : TestableDevices()) {
    fmt::print(stderr, "npumoe: testing {}\n", device);
    SelfTest test;
    if (profile.ok()) {
      test = TestDevice(device, *profile, pool);
    } else {
      test.device = device;
      test.status = profile.status();
    }
    tests.push_back(ToJson(test));
  }
  return tests;
}

// Paths and messages may stand anywhere.
void ShortenHome(OrderedJson& json) {
  if (json.is_string()) {
    json = WithoutHome(json.get<std::string>());
  } else if (json.is_structured()) {
    for (OrderedJson& item : json) ShortenHome(item);
  }
}

std::string Text(const OrderedJson& json, const char* key) {
  const OrderedJson& value = json.at(key);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string Joined(const OrderedJson& list) {
  std::string text;
  for (const OrderedJson& item : list) text += (text.empty() ? "" : " ") + item.get<std::string>();
  return text.empty() ? "none" : text;
}

// The number at `key` as `format` has it, a text as it is; "-" where it is absent.
std::string Cell(const OrderedJson& test, const char* key, std::string (*format)(double)) {
  const auto found = test.find(key);
  if (found == test.end()) return "-";
  return found->is_number() ? format(found->get<double>()) : found->get<std::string>();
}

std::string FormatError(double error) { return fmt::format("{:.1e}", error); }

std::string TestText(const OrderedJson& tests) {
  Table table(
      {"self-test", "load", "launch", "", "error", "result"},
      {Align::kLeft, Align::kRight, Align::kRight, Align::kLeft, Align::kRight, Align::kLeft});
  std::string plans;
  for (const OrderedJson& test : tests) {
    table.AddRow({Text(test, "device"), Cell(test, "load_ms", FormatMs),
                  Cell(test, "launch_ms", FormatMs), test.value("launch_time", ""),
                  Cell(test, "error", FormatError), Text(test, "result")});
    if (!test.contains("plan")) continue;
    const std::string elsewhere = Text(test.at("plan"), "elsewhere");
    plans += fmt::format("{}: {} of {} operations on the device{}\n", Text(test, "device"),
                         Text(test.at("plan"), "on_device"), Text(test.at("plan"), "operations"),
                         elsewhere.empty() ? "" : "; elsewhere: " + elsewhere);
  }
  return table.ToString() + plans;
}

std::string CacheText(const OrderedJson& cache) {
  std::string text = fmt::format("cache       {}: {} entries, {}\n", Text(cache, "folder"),
                                 Text(cache, "entries"), FormatBytes(cache.at("bytes")));
  size_t shown = 0;
  for (const OrderedJson& entry : cache.at("largest")) {
    if (++shown > kMostShownEntries) break;
    text += fmt::format("  {:>9}  {}\n", FormatBytes(entry.at("bytes")), Text(entry, "name"));
  }
  return text;
}

}  // namespace

OrderedJson MakeDoctorReport() {
  const MachineFacts machine = DescribeMachine();
  const std::vector<std::string> chips = ListChipProfiles(ChipFolders());
  const std::string profile = ProfileForChip(machine.chip, chips);
  OrderedJson report = {{"build", DescribeBuild()},
                        {"machine", MachineJson(machine)},
                        {"settings", DescribeSettings()},
                        {"chips", chips},
                        {"chip_profile", profile}};
  report["devices"] = DescribeDevices();
  report["self_test_profile"] = profile.empty() ? kFallbackProfile : profile;
  report["self_tests"] = TestDevices(report["self_test_profile"]);
  report["cache"] = CacheJson();
  ShortenHome(report);
  return report;
}

std::string DoctorReportText(const OrderedJson& report) {
  const OrderedJson& build = report.at("build");
  const OrderedJson& machine = report.at("machine");
  const std::string profile = Text(report, "chip_profile");
  std::string text = fmt::format("npumoe {} ({}, {})\n", Text(build, "version"),
                                 Text(build, "compiler"), Text(build, "build"));
  text += fmt::format("flags       {}\n", Text(build, "flags"));
  text += fmt::format("system      {}, build {}\n", Text(machine, "system"),
                      Text(machine, "system_build"));
  text +=
      fmt::format("chip        {} ({})\n", Text(machine, "chip"), Text(machine, "architecture"));
  text += fmt::format("processors  {}, kernels for {}\n", Text(machine, "processors"),
                      Text(machine, "kernels"));
  text += fmt::format("features    {}\n", Joined(machine.at("cpu_features")));
  text += fmt::format("memory      {}\n", FormatBytes(machine.at("memory_bytes")));
  text += fmt::format("settings    {}\n", Joined(report.at("settings")));
  text += fmt::format("profile     {}; self-tests use {} (there are: {})\n",
                      profile.empty() ? "none for this chip" : profile,
                      Text(report, "self_test_profile"), Joined(report.at("chips")));
  return text + CacheText(report.at("cache")) + "\n" + DeviceTable(report.at("devices")) + "\n\n" +
         TestText(report.at("self_tests"));
}

}  // namespace npumoe::cli
