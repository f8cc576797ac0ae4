// npumoe verify: what became of a plan on a device (placement), and how far each program's
// numbers are from the reference kernels. Exits nonzero when a claim fails. With --package it
// executes one function of one package, without a model it tests the device itself.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "cli/devices.h"
#include "cli/engine.h"
#include "cli/input.h"
#include "cli/placement_text.h"
#include "cli/table.h"
#include "cli/verify_conformance.h"
#include "cli/verify_graph.h"
#include "model/safetensors.h"
#include "runtime/recount.h"
#include "runtime/trace_recorder.h"
#include "runtime/verify.h"

namespace npumoe::cli {
namespace {

struct Options {
  EngineOptions engine;
  std::string data;
  std::string ids_file;
  int64_t tokens = 1024;
  std::string package;
  std::string function = "main";
  std::string inputs;
  std::string out;
  std::string chip = "m2-max";
  bool graph = false;  // --graph, with or without a package
  std::string graph_package;
  bool rules = false;
  bool json = false;
};

Status CheckDevice(const Options& options) {
  if (options.engine.device.empty()) return OkStatus();
  if (options.engine.device == kCpuDevice) {
    return UsageError("verify needs a device other than cpu");
  }
  return CheckDeviceName("--device", options.engine.device);
}

Status RunPackage(const Options& options) {
  NPUMOE_RETURN_IF_ERROR(CheckDevice(options));
  if (options.inputs.empty() || options.out.empty()) {
    return UsageError("verify --package needs --inputs I.safetensors and --out O.safetensors");
  }
  NPUMOE_ASSIGN_OR_RETURN(const ChipProfile profile, LoadChipProfile(options.chip, ChipFolders()));
  ThreadPool pool(options.engine.threads);
  DeviceOptions device_options = DeviceOptionsOf(options.engine, profile);
  if (options.engine.cache.empty()) device_options.cache_dir.clear();  // one launch keeps nothing
  NPUMOE_ASSIGN_OR_RETURN(const auto device,
                          MakeDevice(DeviceOf(options.engine), profile, pool, device_options));
  NPUMOE_ASSIGN_OR_RETURN(const Safetensors inputs, Safetensors::Open(options.inputs));
  NPUMOE_ASSIGN_OR_RETURN(const ProgramRun run,
                          RunProgram(options.package, options.function, *device, inputs.tensors()));
  std::map<std::string, TensorView> outputs;
  for (const auto& [output, tensor] : run.outputs) outputs[output] = tensor.view();
  NPUMOE_RETURN_IF_ERROR(WriteSafetensors(options.out, outputs));
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"out", options.out},
                                              {"outputs", outputs.size()},
                                              {"time_ms", run.report.time_ms},
                                              {"energy_j", run.report.energy_j},
                                              {"modelled", run.report.modelled}}
                           .dump(2));
    return OkStatus();
  }
  fmt::print("{} outputs -> {} ({} {})\n", outputs.size(), options.out,
             FormatMs(run.report.time_ms), run.report.modelled ? "modelled" : "measured");
  return OkStatus();
}

// Placement needs a run: text (or ids) goes through prefill once.
struct Execution {
  bool ran = false;
  DispatchCounts executed;
  DispatchCounts recounted;
};

Result<std::vector<int32_t>> ReadTokens(const Options& options, const Model& model) {
  std::vector<int32_t> ids;
  if (!options.ids_file.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(ids, ReadIdsFile(options.ids_file, model.config.vocab_size));
  } else if (!options.data.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadText(options.data));
    NPUMOE_ASSIGN_OR_RETURN(ids, EncodeText(model, text, SpecialTokens::kAsText));
  }
  if (ids.empty() && !options.data.empty()) {
    return InvalidInput(options.data + ": the text is empty, so nothing would be executed");
  }
  const int64_t limit = std::min<int64_t>(options.tokens, model.config.max_position_embeddings);
  if (static_cast<int64_t>(ids.size()) > limit) ids.resize(static_cast<size_t>(limit));
  return ids;
}

Result<Execution> Execute(const Options& options, Engine& engine) {
  Execution execution;
  NPUMOE_ASSIGN_OR_RETURN(const auto ids, ReadTokens(options, *engine.model));
  if (ids.empty()) return execution;
  TraceRecorder recorder(engine.model->config);
  NPUMOE_ASSIGN_OR_RETURN(const auto session,
                          engine.NewSession(static_cast<int64_t>(ids.size()), &recorder));
  NPUMOE_ASSIGN_OR_RETURN(const PrefillResult result,
                          session->Prefill(ids, LogitsWanted::kLastRow));
  execution.ran = true;
  execution.executed = result.counts;
  NPUMOE_ASSIGN_OR_RETURN(execution.recounted, RecountDispatch(*engine.plan, engine.npu->overflow(),
                                                               recorder.Trace(), 0, result.chunks));
  return execution;
}

struct Claims {
  bool all_loaded = false;
  bool numbers_agree = false;
  bool counts_agree = true;
  bool nothing_lost = true;
  bool hold() const { return all_loaded && numbers_agree && counts_agree && nothing_lost; }
};

Claims CheckClaims(const PlacementReport& report, const std::vector<ProgramVerdict>& verdicts,
                   const Execution& execution) {
  Claims claims;
  claims.all_loaded = report.loaded() == report.planned() && report.degradations() == 0;
  claims.numbers_agree = std::all_of(verdicts.begin(), verdicts.end(),
                                     [](const ProgramVerdict& v) { return v.passed(); });
  claims.counts_agree = execution.executed == execution.recounted;
  claims.nothing_lost = execution.executed.dropped_rows == 0;
  return claims;
}

std::string ErrorText(const ProgramVerdict& verdict) {
  if (!verdict.status.ok()) return verdict.status.message();
  return verdict.rows == 0 ? "-" : fmt::format("{:.1e}", verdict.error);
}

// Programs of attention and head have limits of their own, and are compared where they ran.
std::string NumbersText(const std::vector<ProgramVerdict>& verdicts) {
  std::string text =
      fmt::format("every program within {:.0e} of the reference kernels", kProgramErrorLimit);
  std::map<ProgramKind, double> limits;
  int64_t not_compared = 0;
  for (const ProgramVerdict& verdict : verdicts) {
    if (verdict.was_compared()) limits[verdict.id.kind] = verdict.limit;
    if (!verdict.was_compared()) ++not_compared;
  }
  for (const ProgramKind kind : {ProgramKind::kAttention, ProgramKind::kHead}) {
    if (!limits.contains(kind)) continue;
    text += fmt::format(", {} within {:.1e}", Name(kind), limits[kind]);
  }
  if (not_compared > 0) {
    text +=
        fmt::format("; {} of {} did not run and were not compared", not_compared, verdicts.size());
  }
  return text;
}

void PrintTable(const PlacementReport& report, const std::vector<ProgramVerdict>& verdicts,
                const Execution& execution, const Claims& claims) {
  fmt::print("{}\n\n", report.device);
  Table table({"layer", "program", "form", "experts", "loaded", "launches", "rows", "padding",
               "spilled", "error", "refused because"});
  for (size_t i = 0; i < report.programs.size(); ++i) {
    const ProgramPlacement& p = report.programs[i];
    const ProgramVerdict& v = verdicts[i];
    const bool experts = p.id.kind == ProgramKind::kExperts;
    table.AddRow({p.id.kind == ProgramKind::kHead ? "-" : std::to_string(p.id.layer),
                  experts ? std::to_string(p.id.index) : Name(p.id.kind),
                  experts ? Name(p.form) : "-", experts ? std::to_string(p.experts.size()) : "-",
                  p.loaded ? "yes" : "no", FormatCount(p.launches), FormatCount(p.filled_rows),
                  FormatCount(p.capacity_rows - p.filled_rows), FormatCount(p.spilled_rows),
                  ErrorText(v), p.refusal});
  }
  fmt::print("{}\n", table.ToString());
  if (const std::string text = PlacementText(report); !text.empty()) fmt::print("{}\n", text);
  const auto claim = [](bool holds, const std::string& text) {
    fmt::print("{}  {}\n", holds ? "ok    " : "FAILED", text);
  };
  claim(claims.all_loaded, fmt::format("{} of {} programs loaded, {} degradations", report.loaded(),
                                       report.planned(), report.degradations()));
  claim(claims.numbers_agree, NumbersText(verdicts));
  if (!execution.ran) {
    fmt::print("        give --data TEXT or --ids-file IDS to check what is executed, too\n");
    return;
  }
  fmt::print(
      "        {} rows were computed by the CPU, too, as they came: off by at most {:.1e} "
      "(root mean square)\n",
      FormatCount(report.checks.rows), report.checks.largest_root_mean_square);
  claim(claims.counts_agree,
        fmt::format("executed as planned: {} launches, {} rows, {} spilled (recounted from the "
                    "recorded routing)",
                    execution.executed.launches, execution.executed.filled_rows,
                    execution.executed.spilled_rows));
  claim(claims.nothing_lost,
        fmt::format("nothing lost: {} rows dropped", execution.executed.dropped_rows));
}

void PrintJson(const PlacementReport& report, const std::vector<ProgramVerdict>& verdicts,
               const Execution& execution, const Claims& claims) {
  nlohmann::ordered_json errors = nlohmann::ordered_json::array();
  for (const ProgramVerdict& v : verdicts) {
    errors.push_back({{"kind", Name(v.id.kind)},
                      {"layer", v.id.layer},
                      {"program", v.id.index},
                      {"rows", v.rows},
                      {"error", v.error},
                      {"compared", v.was_compared()},
                      {"passed", v.passed()},
                      {"problem", v.status.message()}});
  }
  // Without text nothing was executed, and these claims were not tested.
  const auto if_tested = [&](bool claim) {
    return execution.ran ? nlohmann::ordered_json(claim) : nlohmann::ordered_json();
  };
  nlohmann::ordered_json json = {{"placement", ToJson(report)},
                                 {"numeric", errors},
                                 {"claims",
                                  {{"all_loaded", claims.all_loaded},
                                   {"numbers_agree", claims.numbers_agree},
                                   {"counts_agree", if_tested(claims.counts_agree)},
                                   {"nothing_lost", if_tested(claims.nothing_lost)}}},
                                 {"executed", execution.ran}};
  fmt::print("{}\n", json.dump(2));
}

Status CheckGraphs(const Options& options) {
  if (options.rules) return ListValidatorRules(options.json);
  if (options.graph_package.empty()) {
    return UsageError("verify --graph needs a package (--graph P.mlpackage) or --rules");
  }
  return VerifyGraph({options.graph_package, options.chip, options.json});
}

Status RunVerify(const Options& options) {
  if (options.graph || options.rules) return CheckGraphs(options);
  if (!options.package.empty()) return RunPackage(options);
  NPUMOE_RETURN_IF_ERROR(CheckDevice(options));
  const bool names_a_plan = !options.engine.model.empty() || !options.engine.plan.empty();
  if (!names_a_plan && !options.engine.device.empty()) {
    return VerifyConformance(options.engine, options.chip, options.json);
  }
  if (options.engine.model.empty() || options.engine.plan.empty()) {
    return UsageError(
        "verify needs MODEL and --plan FILE, or --package P, or --device D alone to test a device");
  }
  NPUMOE_ASSIGN_OR_RETURN(const auto engine, OpenEngine(options.engine));
  NPUMOE_ASSIGN_OR_RETURN(const Execution execution, Execute(options, *engine));
  const PlacementReport report = engine->npu->report();
  const auto verdicts = VerifyPrograms(*engine->npu, {});
  const Claims claims = CheckClaims(report, verdicts, execution);
  if (options.json) {
    PrintJson(report, verdicts, execution, claims);
  } else {
    PrintTable(report, verdicts, execution, claims);
  }
  if (!claims.hold()) return InvalidInput("verification failed: see the report");
  return CheckRequiredNpu(*engine, options.engine);
}

}  // namespace

void AddVerifyCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command =
      app.add_subcommand("verify", "Check placement and numbers of a plan, or test a device");
  auto options = std::make_shared<Options>();
  command->add_option("model,-m,--model", options->engine.model, "Model folder or GGUF file");
  AddThreadOption(*command, options->engine);
  AddDeviceOptions(*command, options->engine);
  auto* data =
      command->add_option("--data,-f", options->data, "Text to prefill, for the executed counts");
  command->add_option("--ids-file", options->ids_file, "Token ids instead of text")->excludes(data);
  command->add_option("--tokens", options->tokens, "Use at most so many tokens of it")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  command->add_option("--package", options->package, "Execute one function of this .mlpackage");
  command->add_option("--function", options->function, "Its function")->capture_default_str();
  command->add_option("--inputs", options->inputs, "Its inputs, a .safetensors file");
  command->add_option("--out", options->out, "Its outputs, a .safetensors file");
  auto* graph = command->add_option("--graph", options->graph_package,
                                    "Check this .mlpackage against all limits of a chip");
  graph->expected(0, 1)->type_name("P.mlpackage");
  command->add_flag("--rules", options->rules, "List the rules that --graph checks");
  command
      ->add_option("--chip", options->chip,
                   "Chip profile for --package, --graph and the test of a device")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Machine-readable report");
  command->footer(
      "Example:\n  npumoe verify models/demo --plan demo.plan.json --data text.txt\n"
      "  npumoe verify --package P.mlpackage --function main --device emulator "
      "--inputs in.safetensors --out out.safetensors\n"
      "  npumoe verify --graph P.mlpackage --chip m1\n"
      "  npumoe verify --device openvino:CPU        every form, format and shape, without a model");
  command->callback([options, graph, &selected] {
    options->graph = graph->count() > 0;
    selected = [options] { return RunVerify(*options); };
  });
}

}  // namespace npumoe::cli
