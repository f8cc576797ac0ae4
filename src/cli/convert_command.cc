// npumoe convert: a model folder or GGUF to a GGUF, or to a model folder.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "cli/command.h"
#include "cli/convert_report.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "convert/convert.h"
#include "graph/output_file.h"
#include "model/gguf/gguf_model.h"

namespace npumoe::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string in;
  std::string out;
  std::string type;
  bool force = false;
  bool json = false;
};

Result<TypePolicy> ReadPolicy(const Options& options, bool to_gguf) {
  TypePolicy policy;
  policy.only_plain = !to_gguf;
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

// "NAME-of-00003" of part "NAME-00001-of-00003.gguf", so that all parts of a split agree; any other
// path as it is.
std::string SplitName(const fs::path& path) {
  constexpr std::string_view kPattern = "-00000-of-00000.gguf";  // a 0 stands for any digit
  const std::string text = path.string();
  if (text.size() <= kPattern.size()) return text;
  const std::string_view suffix = std::string_view(text).substr(text.size() - kPattern.size());
  const bool is_part = std::ranges::equal(suffix, kPattern, [](unsigned char c, char pattern) {
    return pattern == '0' ? std::isdigit(c) != 0 : c == static_cast<unsigned char>(pattern);
  });
  if (!is_part) return text;
  constexpr size_t kNumber = std::string_view("-00001").size();
  return text.substr(0, text.size() - kPattern.size()) + std::string(suffix.substr(kNumber));
}

// A folder is replaced as a whole, so it may hold nothing but what this command writes.
Status CheckReplacedFolder(const std::string& name, const fs::path& folder) {
  static constexpr std::string_view kWritten[] = {"config.json", "generation_config.json",
                                                  "model.safetensors", "tokenizer.json",
                                                  "tokenizer_config.json"};
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string file = entry.path().filename().string();
    if (std::ranges::find(kWritten, file) != std::end(kWritten)) continue;
    return UsageError(fmt::format(
        "{}: holds '{}', which this command does not write; --force would remove it with the "
        "folder, so choose another folder",
        name, file));
  }
  if (!error) return OkStatus();
  return IoError(name + ": cannot be listed: " + error.message());
}

// The input must survive, and so must what nobody asked to replace.
Status CheckOutput(const Options& options) {
  std::error_code ignored;  // paths that cannot be examined fail when they are opened
  const fs::path in = fs::weakly_canonical(options.in, ignored);
  const fs::path out = fs::weakly_canonical(options.out, ignored);
  const auto [inside, rest] = std::mismatch(out.begin(), out.end(), in.begin(), in.end());
  if (inside == out.end() && fs::is_directory(out, ignored)) {
    return UsageError(options.out + ": is or holds the model that is read; choose another place");
  }
  if (SplitName(in) == SplitName(out)) {
    return UsageError(options.out +
                      ": is the file that is read, or a part of it; choose another "
                      "name");
  }
  if (!fs::exists(out, ignored)) return OkStatus();
  if (!options.force) {
    return UsageError(options.out + ": exists already; choose another name or add --force");
  }
  return fs::is_directory(out, ignored) ? CheckReplacedFolder(options.out, out) : OkStatus();
}

// Moves a finished folder to its name; what stood there goes with the staging folder.
Status PutInPlace(const fs::path& finished, const fs::path& out, const fs::path& staging) {
  std::error_code error;
  if (fs::exists(out, error)) {
    if (!fs::is_directory(out, error)) {
      return InvalidInput(out.string() + ": is a file, a folder is written");
    }
    fs::rename(out, staging / "replaced", error);
  }
  if (!error) fs::rename(finished, out, error);
  if (!error) return OkStatus();
  return IoError(out.string() + ": cannot be put in place: " + error.message());
}

Result<ConvertReport> WriteFolder(const ConvertSource& source, const fs::path& out,
                                  const TypePolicy& policy, const WriteProgress& progress) {
  std::error_code ignored;  // a path that cannot be resolved fails when it is created
  const fs::path resolved = fs::weakly_canonical(out, ignored);  // a link's folder, not the link
  const fs::path clean = resolved.has_filename() ? resolved : resolved.parent_path();
  NPUMOE_ASSIGN_OR_RETURN(const StagingFolder staging, StagingFolder::Create(clean));
  const fs::path finished = staging.path() / "model";
  std::error_code error;
  if (!fs::create_directory(finished, error)) {
    return IoError(finished.string() + ": cannot be created: " + error.message());
  }
  NPUMOE_ASSIGN_OR_RETURN(ConvertReport report,
                          ConvertToFolder(source, finished, policy, progress));
  report.path = out.string();
  NPUMOE_RETURN_IF_ERROR(PutInPlace(finished, clean, staging.path()));
  return report;
}

Status RunConvert(const Options& options) {
  const fs::path out = options.out;
  const bool to_gguf = IsGgufPath(out);
  NPUMOE_ASSIGN_OR_RETURN(const TypePolicy policy, ReadPolicy(options, to_gguf));
  NPUMOE_RETURN_IF_ERROR(CheckOutput(options));
  NPUMOE_ASSIGN_OR_RETURN(const ConvertSource source, OpenConvertSource(options.in));
  ConvertReport report;
  {
    Progress progress("converting", "MB");
    const InterruptGuard interrupt;
    const auto show = [&progress](uint64_t done, uint64_t total) -> Status {
      if (InterruptGuard::Interrupted()) return Status(StatusCode::kCancelled, "interrupted");
      constexpr uint64_t kMegabyte = 1'000'000;
      progress.Update(static_cast<int64_t>(done / kMegabyte),
                      std::max<int64_t>(1, static_cast<int64_t>(total / kMegabyte)));
      return OkStatus();
    };
    NPUMOE_ASSIGN_OR_RETURN(report, to_gguf ? ConvertToGguf(source, out, policy, show)
                                            : WriteFolder(source, out, policy, show));
  }
  fmt::print("{}", options.json ? ConvertJson(report) + "\n" : ConvertText(report));
  return OkStatus();
}

}  // namespace

void AddConvertCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command =
      app.add_subcommand("convert", "Write a model as a GGUF file, or a GGUF as a model folder");
  auto options = std::make_shared<Options>();
  command->add_option("path,-m,--model", options->in, "Model folder or GGUF file")->required();
  command->add_option("out,-o,--out", options->out, "FILE.gguf, or a folder")->required();
  command
      ->add_option("--type", options->type,
                   "Type of the matrices: f32, f16, bf16, q8_0, q4_0, q4_k; keep leaves every "
                   "tensor as it is. By default matrices stay as they are, and norms and "
                   "biases become F32, as other engines want them")
      ->envname("NPUMOE_TYPE");
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
