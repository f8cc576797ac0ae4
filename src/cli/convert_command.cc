// npumoe convert: a model folder or GGUF to a GGUF, or to a model folder.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "cli/command.h"
#include "cli/convert_output.h"
#include "cli/convert_report.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "convert/convert.h"

namespace npumoe::cli {
namespace {

struct Options {
  std::string in;
  std::string out;
  std::string type;
  bool requantize = false;
  bool force = false;
  bool json = false;
};

Result<TypePolicy> ReadPolicy(const Options& options, OutputKind kind) {
  const bool to_gguf = kind == OutputKind::kGguf;
  TypePolicy policy;
  policy.only_plain = !to_gguf;
  if (options.requantize) policy.requantize = Requantize::kAllow;
  if (options.type.empty()) return policy;
  if (options.type == "keep") {
    policy.rule = TypeRule::kKeep;
    return policy;
  }
  policy.rule = TypeRule::kWanted;
  const std::optional<DType> wanted = ParseAnyDType(options.type);
  for (const DType known :
       {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
    if (wanted == known && (to_gguf || !IsQuantized(known))) policy.wanted = known;
    if (wanted == known && (to_gguf || !IsQuantized(known))) return policy;
  }
  return UsageError(fmt::format("--type '{}' is not known; {}", options.type,
                                to_gguf ? "a GGUF takes f32, f16, bf16, q8_0, q4_0, q4_k or keep"
                                        : "a folder takes f32, f16, bf16 or keep"));
}

Status RunConvert(const Options& options) {
  NPUMOE_ASSIGN_OR_RETURN(const OutputKind kind, OutputKindOf(options.out));
  NPUMOE_ASSIGN_OR_RETURN(const TypePolicy policy, ReadPolicy(options, kind));
  NPUMOE_RETURN_IF_ERROR(
      CheckOutput(options.in, options.out, options.force ? Replace::kOutput : Replace::kNothing));
  NPUMOE_ASSIGN_OR_RETURN(const ConvertSource source, OpenConvertSource(options.in));
  ConvertReport report;
  {
    Progress progress("converting", "MB");
    const InterruptGuard interrupt(InterruptGuard::Signals::kEnding);
    const auto show = [&progress](uint64_t done, uint64_t total) -> Status {
      if (InterruptGuard::Interrupted()) return Status(StatusCode::kCancelled, "interrupted");
      constexpr uint64_t kMegabyte = 1'000'000;
      progress.Update(static_cast<int64_t>(done / kMegabyte),
                      std::max<int64_t>(1, static_cast<int64_t>(total / kMegabyte)));
      return OkStatus();
    };
    const auto write_folder = [&](const std::filesystem::path& folder) {
      return ConvertToFolder(source, folder, policy, show);
    };
    NPUMOE_ASSIGN_OR_RETURN(report, kind == OutputKind::kGguf
                                        ? ConvertToGguf(source, options.out, policy, show)
                                        : WriteFolderInPlace(options.out, write_folder));
  }
  if (!options.json) fmt::print(stderr, "{}", ConvertRemarks(report));
  fmt::print("{}", options.json ? ConvertJson(report) + "\n" : ConvertText(report));
  return OkStatus();
}

}  // namespace

void AddConvertCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command =
      app.add_subcommand("convert", "Write a model as a GGUF file, or a GGUF as a model folder");
  auto options = std::make_shared<Options>();
  command->add_option("path,-m,--model", options->in, "Model folder or GGUF file")->required();
  command
      ->add_option("out,-o,--out", options->out,
                   "FILE.gguf, or a folder (FOLDER/ where the name looks like a file's)")
      ->required();
  command
      ->add_option("--type", options->type,
                   "Type of the matrices: f32, f16, bf16, q8_0, q4_0, q4_k; keep leaves every "
                   "tensor as it is. By default matrices stay as they are, and norms and "
                   "biases become F32, as other engines want them")
      ->envname("NPUMOE_TYPE");
  command->add_flag("--requantize", options->requantize,
                    "Make blocks of a model that has blocks of another type already, through fp32; "
                    "the result is worse than one made of the original model");
  command->add_flag("--force", options->force,
                    "Replace the output where it exists; a folder only if it holds nothing else");
  command->add_flag("--json", options->json, "Machine-readable output");
  command->footer(
      "Example:\n  npumoe convert models/demo demo.gguf --type q8_0\n"
      "  npumoe convert demo.gguf demo-folder");
  command->callback(
      [options, &selected] { selected = [options] { return RunConvert(*options); }; });
}

}  // namespace npumoe::cli
