#include "cli/doctor_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
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

namespace fs = std::filesystem;
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

double BytesBelow(const fs::directory_entry& entry) {
  std::error_code error;
  if (!entry.is_directory(error)) {
    const auto size = entry.file_size(error);
    return error ? 0 : static_cast<double>(size);
  }
  double sum = 0;
  fs::recursive_directory_iterator item(entry.path(), error);
  for (; !error && item != fs::recursive_directory_iterator(); item.increment(error)) {
    std::error_code size_error;
    const auto size = item->file_size(size_error);
    if (!size_error) sum += static_cast<double>(size);
  }
  return sum;
}

// Entries of the cache and, as devices keep theirs in folders, of those folders.
std::vector<std::pair<std::string, double>> CacheEntries(const fs::path& cache) {
  std::vector<std::pair<std::string, double>> entries;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(cache, error)) {
    const bool is_folder = entry.is_directory(error) && entry.path().extension().empty();
    const std::string name = entry.path().filename().string();
    if (!is_folder) {
      entries.emplace_back(name, BytesBelow(entry));
      continue;
    }
    for (const auto& inner : fs::directory_iterator(entry.path(), error)) {
      entries.emplace_back(name + "/" + inner.path().filename().string(), BytesBelow(inner));
    }
  }
  std::ranges::sort(entries, [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  return entries;
}

OrderedJson DescribeCache() {
  const fs::path cache = DefaultCacheFolder();
  const auto entries = CacheEntries(cache);
  double bytes = 0;
  OrderedJson largest = OrderedJson::array();
  for (const auto& [name, size] : entries) {
    bytes += size;
    if (largest.size() < kMostCacheEntries) largest.push_back({{"name", name}, {"bytes", size}});
  }
  return {{"folder", cache.string()},
          {"entries", entries.size()},
          {"bytes", bytes},
          {"largest", largest}};
}

OrderedJson DescribeDevices() {
  OrderedJson devices = OrderedJson::array();
  for (const DeviceListing& device : AllDevices()) {
    devices.push_back({{"name", device.name},
                       {"available", device.available},
                       {"version", device.version},
                       {"note", device.note}});
  }
  return devices;
}

OrderedJson ToJson(const SelfTest& test) {
  OrderedJson json = {{"device", test.device},
                      {"ok", test.status.ok()},
                      {"result", test.status.ok() ? "right" : test.status.message()},
                      {"description", test.info.description},
                      {"version", test.info.version},
                      {"isolated", test.is_isolated},
                      {"load_ms", test.load_ms},
                      {"launch_ms", test.launch.time_ms},
                      {"launch_time", test.launch.modelled ? "modelled" : "measured"},
                      {"error", test.error}};
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

std::string DeviceText(const OrderedJson& devices) {
  Table table({"device", "available", "version", "note"},
              {Align::kLeft, Align::kLeft, Align::kLeft, Align::kLeft});
  for (const OrderedJson& device : devices) {
    table.AddRow({Text(device, "name"), device.at("available") ? "yes" : "no",
                  Text(device, "version"), Text(device, "note")});
  }
  return table.ToString();
}

std::string TestText(const OrderedJson& tests) {
  Table table(
      {"self-test", "load", "launch", "", "error", "result"},
      {Align::kLeft, Align::kRight, Align::kRight, Align::kLeft, Align::kRight, Align::kLeft});
  std::string plans;
  for (const OrderedJson& test : tests) {
    table.AddRow(
        {Text(test, "device"), FormatMs(test.at("load_ms")), FormatMs(test.at("launch_ms")),
         Text(test, "launch_time"),
         fmt::format("{:.1e}",
                     test.at("error").is_null() ? HUGE_VAL : test.at("error").get<double>()),
         Text(test, "result")});
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
  report["cache"] = DescribeCache();
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
  return text + CacheText(report.at("cache")) + "\n" + DeviceText(report.at("devices")) + "\n" +
         TestText(report.at("self_tests"));
}

}  // namespace npumoe::cli
