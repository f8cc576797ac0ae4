// npumoe run: one prompt, a file, or a chat on a terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/chat.h"
#include "cli/command.h"
#include "cli/engine.h"
#include "cli/generate.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/run_compare.h"
#include "cli/run_report.h"
#include "cli/table.h"
#include "cli/validators.h"

namespace npumoe::cli {
namespace {

struct Options {
  EngineOptions engine;
  std::string prompt;
  std::string file;
  std::string ids_file;
  std::string system;
  bool no_chat_template = false;
  std::string chat_template;
  std::string thinking;
  int64_t max_tokens = -1;
  std::optional<float> temperature, top_p, min_p;
  std::optional<int> top_k;
  std::optional<int64_t> seed;
  int64_t context_tokens = 0;
  bool perf = false;
  bool compare_cpu = false;
  bool json = false;
};

// Draws the prefill of long prompts; the bar is gone before the answer starts.
class PrefillProgress final : public Observer {
 public:
  void OnPrefillProgress(int64_t done, int64_t total) override {
    if (done <= last_done_) progress_.emplace("prefill", "tokens");  // a new turn
    last_done_ = done;
    progress_->Update(done, total);
  }

 private:
  std::optional<Progress> progress_{std::in_place, "prefill", "tokens"};
  int64_t last_done_ = 0;
};

// Chosen: room for a long prompt and its answer without asking for the model's maximum.
constexpr int64_t kDefaultContextTokens = 8192;

// Flag > generation_config.json > llama.cpp's defaults (SamplingOptions').
SamplingOptions ChooseSampling(const Options& options, const GenerationConfig& config) {
  SamplingOptions sampling;
  sampling.temperature = config.temperature.value_or(sampling.temperature);
  sampling.top_k = config.top_k.value_or(sampling.top_k);
  sampling.top_p = config.top_p.value_or(sampling.top_p);
  sampling.min_p = config.min_p.value_or(sampling.min_p);
  if (config.do_sample.has_value() && !*config.do_sample) sampling.temperature = 0;
  sampling.temperature = options.temperature.value_or(sampling.temperature);
  sampling.top_k = options.top_k.value_or(sampling.top_k);
  sampling.top_p = options.top_p.value_or(sampling.top_p);
  sampling.min_p = options.min_p.value_or(sampling.min_p);
  return sampling;
}

GenerateOptions ChooseGeneration(const Options& options, const Model& model,
                                 const std::optional<ChatTemplate>& chat_template) {
  GenerateOptions generate;
  generate.end_tokens = model.generation.end_tokens;
  if (chat_template && model.tokenizer != nullptr) {
    const std::vector<int32_t> ends = chat_template->EndTokens(*model.tokenizer);
    generate.end_tokens.insert(generate.end_tokens.end(), ends.begin(), ends.end());
  }
  generate.sampling = ChooseSampling(options, model.generation);
  const bool is_given = options.seed.has_value() && *options.seed >= 0;
  generate.seed = is_given ? static_cast<uint64_t>(*options.seed) : std::random_device{}();
  generate.max_tokens = options.max_tokens;
  generate.stream = !options.json;
  return generate;
}

// None: raw completion.
Result<std::optional<ChatTemplate>> ChooseTemplate(const Options& options, const Model& model) {
  if (options.no_chat_template) return std::optional<ChatTemplate>();
  if (!options.chat_template.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(ChatTemplate named, ChatTemplate::ByName(options.chat_template));
    return std::optional<ChatTemplate>(std::move(named));
  }
  if (!model.chat_template_problem.empty()) return Unsupported(model.chat_template_problem);
  return model.chat_template;
}

Result<ChatSettings> ChooseChatSettings(const Options& options) {
  ChatSettings settings;
  settings.system = options.system;
  if (options.thinking == "on") settings.enable_thinking = true;
  if (options.thinking == "off") settings.enable_thinking = false;
  return settings;
}

// Editors and echo end a text with a line feed that nobody means: one is taken off.
std::string WithoutLastLineFeed(std::string text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Result<std::string> ReadPrompt(const Options& options) {
  if (!options.prompt.empty()) return options.prompt;
  if (options.file.empty()) {
    return WithoutLastLineFeed(std::string(std::istreambuf_iterator<char>(std::cin), {}));
  }
  NPUMOE_ASSIGN_OR_RETURN(std::string text, ReadText(options.file));
  return WithoutLastLineFeed(std::move(text));
}

Result<std::vector<int32_t>> EncodePrompt(const Options& options, const Model& model,
                                          const std::optional<ChatTemplate>& chat_template) {
  if (!options.ids_file.empty()) return ReadIdsFile(options.ids_file, model.config.vocab_size);
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadPrompt(options));
  if (!chat_template || model.tokenizer == nullptr) {
    if (!options.system.empty()) {
      return UsageError(
          "--system needs a chat template: this model has none; name one with "
          "--chat-template or write the text into the prompt");
    }
    Result<std::vector<int32_t>> ids = EncodeText(model, text, SpecialTokens::kParse);
    if (!ids.ok() && !options.file.empty()) return ids.status().WithContext(options.file);
    return ids;
  }
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system, {}, {}});
  messages.push_back({"user", text, {}, {}});
  NPUMOE_ASSIGN_OR_RETURN(const ChatSettings settings, ChooseChatSettings(options));
  ChatOptions chat;
  chat.enable_thinking = settings.enable_thinking;
  return chat_template->Encode(*model.tokenizer, messages, chat);
}

Status RunOnce(const Options& options, Engine& engine, Session& session,
               const std::optional<ChatTemplate>& chat_template, const GenerateOptions& generate) {
  NPUMOE_ASSIGN_OR_RETURN(const auto prompt, EncodePrompt(options, *engine.model, chat_template));
  if (options.compare_cpu) {
    return CompareWithCpu(engine, prompt, generate, {session.context_tokens(), options.json});
  }
  std::vector<int32_t> context;
  InterruptGuard interrupt;
  NPUMOE_ASSIGN_OR_RETURN(const Generation generation,
                          Generate(session, context, prompt, generate));
  if (options.json) {
    fmt::print("{}\n", RunReportJson(engine, generation, generate.seed));
  } else {
    fmt::print("\n");
    if (options.perf) fmt::print(stderr, "{}", RunReportText(engine, generation));
    if (generation.stop == StopReason::kContextFull) {
      LogWarning(fmt::format("stopped: the context of {} tokens is full; -c makes it larger",
                             session.context_tokens()));
    }
  }
  if (generation.stop == StopReason::kInterrupted) {
    return Status(StatusCode::kCancelled, "interrupted");
  }
  return CheckRequiredNpu(engine, options.engine);
}

bool IsChat(const Options& options) {
  return options.prompt.empty() && options.file.empty() && options.ids_file.empty() &&
         isatty(STDIN_FILENO) == 1;
}

Status RunRun(const Options& options) {
  NPUMOE_ASSIGN_OR_RETURN(const auto engine, OpenEngine(options.engine));
  const Model& model = *engine->model;
  NPUMOE_ASSIGN_OR_RETURN(const auto chat_template, ChooseTemplate(options, model));
  int64_t context_tokens = options.context_tokens;
  if (context_tokens == 0) {
    context_tokens = std::min<int64_t>(kDefaultContextTokens, model.config.max_position_embeddings);
  }
  for (const std::string& field : model.generation.unsupported) {
    LogWarning("generation_config.json: " + field + " is not supported and has no effect");
  }
  PrefillProgress progress;
  NPUMOE_ASSIGN_OR_RETURN(const auto session, engine->NewSession(context_tokens, &progress));
  const GenerateOptions generate = ChooseGeneration(options, model, chat_template);
  if (!IsChat(options)) return RunOnce(options, *engine, *session, chat_template, generate);
  if (options.json) return UsageError("--json needs a prompt: a chat streams its replies");
  if (!chat_template) {
    return UsageError(
        "this model has no chat template, so there is no chat: give a prompt to "
        "complete, or name a template with --chat-template");
  }
  NPUMOE_ASSIGN_OR_RETURN(const ChatSettings settings, ChooseChatSettings(options));
  NPUMOE_RETURN_IF_ERROR(Chat(*engine, *session, *chat_template, settings, generate));
  return CheckRequiredNpu(*engine, options.engine);
}

void AddPromptOptions(CLI::App& command, Options& options) {
  auto* prompt = command.add_option("prompt,-p,--prompt", options.prompt,
                                    "Prompt; without one: a chat on a terminal, else stdin");
  auto* file =
      command.add_option("-f,--file", options.file, "Prompt from a UTF-8 file")->excludes(prompt);
  auto* ids = command.add_option("--ids-file", options.ids_file, "Prompt as token ids")
                  ->excludes(prompt)
                  ->excludes(file);
  auto* raw = command.add_flag("--no-chat-template", options.no_chat_template,
                               "Complete the prompt as it stands (special tokens are parsed)");
  command.add_option("--system", options.system, "System message")->excludes(ids)->excludes(raw);
  command
      .add_option("--chat-template", options.chat_template,
                  "Template by name: " + ChatTemplate::KnownNames())
      ->excludes(ids)
      ->excludes(raw);
  command.add_option("--thinking", options.thinking, "Qwen3's thinking switch")
      ->check(CLI::IsMember({"on", "off"}));
}

void AddGenerationOptions(CLI::App& command, Options& options) {
  command.add_option("-n,--predict", options.max_tokens, "Longest answer in tokens (-1: no limit)")
      ->check(CLI::Range(int64_t{-1}, int64_t{1} << 40))
      ->capture_default_str();
  command.add_option("--temp", options.temperature, "Temperature; 0 takes the likeliest token")
      ->check(Between(0, 100));
  command.add_option("--top-k", options.top_k, "Sample from the k likeliest (0: off)")
      ->check(CLI::Range(0, 1 << 30));
  command.add_option("--top-p", options.top_p, "... from the likeliest that sum to p")
      ->check(Between(0, 1));
  command.add_option("--min-p", options.min_p, "... from those at least p times the likeliest")
      ->check(Between(0, 1));
  command.add_option("-s,--seed", options.seed, "Seed of the sampling (-1 or none: random)");
  command
      .add_option("-c,--ctx-size", options.context_tokens,
                  "Context in tokens (0: 8192, or the model's maximum if smaller)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command.add_flag("--perf", options.perf, "Print timings and placement to stderr");
  command.add_flag("--compare-cpu", options.compare_cpu,
                   "Also answer on the CPU alone, and close with a table of both");
  command.add_flag("--json", options.json, "Answer, timings and placement as one JSON object");
}

}  // namespace

void AddRunCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand("run", "Answer a prompt, or chat on a terminal");
  auto options = std::make_shared<Options>();
  AddModelOption(*command, options->engine);
  AddPromptOptions(*command, *options);
  AddGenerationOptions(*command, *options);
  AddThreadOption(*command, options->engine);
  AddDeviceOptions(*command, options->engine);
  command->footer(
      "Example:\n  npumoe run models/demo \"Python is a\" -n 20 --temp 0\n"
      "  npumoe run models/demo -f prompt.txt --plan demo.plan.json --perf");
  command->callback([options, &selected] { selected = [options] { return RunRun(*options); }; });
}

}  // namespace npumoe::cli
