#include "runtime/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "kernels/convert/convert.h"
#include "kernels/expert/expert.h"
#include "runtime/dense_checks.h"
#include "runtime/model_vectors.h"
#include "runtime/moe_dispatch.h"
#include "runtime/prefill_timeline.h"
#include "runtime/rounded_ffn.h"
#include "runtime/row_error.h"

namespace npumoe {
namespace {

int64_t RowsOf(const PlannedExpert& expert, const VerifyOptions& options) {
  return std::min<int64_t>(expert.capacity, options.rows_per_expert);
}

// Inputs of one program: some rows per expert, each expert its own.
class ProgramInputs {
 public:
  ProgramInputs(const ExpertFunction& program, int64_t hidden_size, const VerifyOptions& options) {
    int64_t total = 0;
    for (const PlannedExpert& expert : program.planned().experts) total += RowsOf(expert, options);
    rows_.Resize(static_cast<size_t>(total * hidden_size));
    matrix_ = {rows_.data(), total, hidden_size, hidden_size};
    std::mt19937_64 random(options.seed);
    std::normal_distribution<float> normal;
    for (int64_t r = 0; r < total; ++r) {
      float* row = matrix_.Row(r);
      if (options.rows.rows > 0) {
        std::copy_n(options.rows.Row(r % options.rows.rows), hidden_size, row);
      } else {
        std::generate_n(row, hidden_size, [&] { return normal(random); });
      }
    }
    assignments_.resize(static_cast<size_t>(total));
    for (size_t i = 0; i < assignments_.size(); ++i) assignments_[i] = static_cast<int32_t>(i);
    int64_t begin = 0;
    for (const PlannedExpert& expert : program.planned().experts) {
      slots_.push_back(
          std::span<const int32_t>(assignments_)
              .subspan(static_cast<size_t>(begin), static_cast<size_t>(RowsOf(expert, options))));
      begin += RowsOf(expert, options);
    }
  }

  ConstMatrix matrix() const { return matrix_; }
  ConstMatrix SlotRows(size_t slot) const {
    return {matrix_.Row(slots_[slot].front()), static_cast<int64_t>(slots_[slot].size()),
            matrix_.columns, matrix_.stride};
  }
  const std::vector<std::span<const int32_t>>& slots() const { return slots_; }

 private:
  AlignedBuffer<float> rows_;
  Matrix matrix_;
  std::vector<int32_t> assignments_;
  std::vector<std::span<const int32_t>> slots_;
};

Result<double> SlotError(const NpuExecutor& executor, const ExpertLaunch& launch,
                         const ProgramInputs& inputs, size_t slot) {
  const int expert = launch.function->planned().experts[slot].expert;
  const LayerPlan layer{launch.function->layer(), {}};
  const auto& experts = executor.model().weights.layers[static_cast<size_t>(layer.layer)].experts;
  const FfnWeights& weights = experts[static_cast<size_t>(expert)];
  const ConstMatrix in = inputs.SlotRows(slot);
  AlignedBuffer<float> expected(static_cast<size_t>(in.rows * in.columns));
  ExpertTask task;
  FloatVectors floats;
  task.weights = WeightsForKernel(executor.model().config, weights, floats.BiasesOf(weights));
  RoundedFfn rounded;
  if (executor.plan().weight_format != WeightFormat::kF16) {
    NPUMOE_ASSIGN_OR_RETURN(rounded, RoundedFfn::Of(executor.plan(), layer, expert, experts));
    rounded.ReplaceIn(task.weights);
  }
  task.in = in;
  task.out = {expected.data(), in.rows, in.columns, in.columns};
  RunExpertReference(task);
  RowError error;
  for (int64_t r = 0; r < in.rows; ++r) {
    error.Add(launch.function->OutputOf(static_cast<int>(slot), r, launch.launch.outputs),
              {task.out.Row(r), static_cast<size_t>(in.columns)});
  }
  return error.Relative();
}

void CompareSlots(const NpuExecutor& executor, const ExpertLaunch& launch,
                  const ProgramInputs& inputs, ProgramVerdict& verdict) {
  for (size_t slot = 0; slot < launch.slots.size(); ++slot) {
    if (launch.slots[slot].empty()) continue;
    const Result<double> error = SlotError(executor, launch, inputs, slot);
    if (!error.ok()) {
      verdict.status = error.status();
      return;
    }
    verdict.rows += static_cast<int64_t>(launch.slots[slot].size());
    if (*error <= verdict.error) continue;
    verdict.error = *error;
    verdict.worst_expert = launch.function->planned().experts[slot].expert;
  }
}

void VerifyOne(NpuExecutor& executor, ExpertFunction& program, const VerifyOptions& options,
               ProgramVerdict& verdict) {
  const int64_t hidden_size = executor.plan().hidden_size;
  const ProgramInputs inputs(program, hidden_size, options);
  ThreadPool this_thread(1);
  PrefillTimeline timeline;
  ExpertLaunch launch;
  launch.function = &program;
  launch.launch.function = &program.loaded();
  launch.launch.purpose = Launch::Purpose::kVerify;
  launch.slots = inputs.slots();
  NpuLaunches& launches = executor.launches();
  if (launches.AcquireBuffers(launch.launch)) {
    for (size_t slot = 0; slot < launch.slots.size(); ++slot) {
      program.Gather(static_cast<int>(slot), inputs.matrix(), launch.slots[slot], 1,
                     launch.launch.inputs, this_thread);
    }
    program.RowsPerInput(launch.slots, launch.launch.rows);
    launches.Submit(launch.launch, timeline);
    launches.Await(launch.launch, timeline);
  }
  if (launch.launch.state == Launch::State::kDone) {
    CompareSlots(executor, launch, inputs, verdict);
  } else {
    verdict.status = launch.launch.failure;
  }
  launches.Release(launch.launch);
}

Status FillInput(const TensorSpec& spec, const std::map<std::string, TensorView>& inputs,
                 DeviceBuffer& buffer) {
  const auto found = inputs.find(spec.name);
  if (found == inputs.end()) {
    return InvalidInput(fmt::format("input '{}' ({} {}) is missing", spec.name, Name(spec.dtype),
                                    spec.shape.ToString()));
  }
  const TensorView& given = found->second;
  const bool is_float = given.dtype == DType::kF32 || given.dtype == DType::kF16;
  if (!(given.shape == spec.shape) || (!is_float && given.dtype != spec.dtype)) {
    return InvalidInput(fmt::format("input '{}' is {} {}; the program takes {} {} (or F32)",
                                    spec.name, Name(given.dtype), given.shape.ToString(),
                                    Name(spec.dtype), spec.shape.ToString()));
  }
  if (given.dtype == spec.dtype) {
    std::memcpy(buffer.bytes().data(), given.data, spec.bytes());
    return OkStatus();
  }
  std::vector<float> values(static_cast<size_t>(spec.shape.elements()));
  ToF32(given, 0, values);
  if (spec.dtype == DType::kF16) {
    F32ToF16(values, reinterpret_cast<uint16_t*>(buffer.bytes().data()));
  } else if (spec.dtype == DType::kF32) {
    std::memcpy(buffer.bytes().data(), values.data(), spec.bytes());
  } else {
    return Unsupported(fmt::format("input '{}' is declared {}; only F32 and F16 can be converted",
                                   spec.name, Name(spec.dtype)));
  }
  return OkStatus();
}

Status CheckNoExtraInputs(const Program& program, const std::map<std::string, TensorView>& inputs) {
  for (const auto& [name, tensor] : inputs) {
    const auto has_name = [&, &wanted = name](const TensorSpec& s) { return s.name == wanted; };
    if (std::none_of(program.inputs().begin(), program.inputs().end(), has_name)) {
      return InvalidInput(fmt::format("the program has no input '{}'", name));
    }
  }
  return OkStatus();
}

using Buffers = std::vector<std::unique_ptr<DeviceBuffer>>;

Result<Buffers> AllocateAll(Program& program, const std::vector<TensorSpec>& specs) {
  Buffers buffers;
  for (const TensorSpec& spec : specs) {
    NPUMOE_ASSIGN_OR_RETURN(std::unique_ptr<DeviceBuffer> buffer, program.Allocate(spec));
    buffers.push_back(std::move(buffer));
  }
  return buffers;
}

// A request that is still running uses them.
void LeakAll(std::unique_ptr<Program>& program, Buffers& inputs, Buffers& outputs) {
  static_cast<void>(program.release());
  for (auto& buffer : inputs) static_cast<void>(buffer.release());
  for (auto& buffer : outputs) static_cast<void>(buffer.release());
}

std::vector<DeviceBuffer*> Pointers(const Buffers& buffers) {
  std::vector<DeviceBuffer*> pointers;
  for (const auto& buffer : buffers) pointers.push_back(buffer.get());
  return pointers;
}

// Attention and head have no rows of their own to be fed with: what their launches were checked on.
void TakeOverChecks(const ProgramPlacement& placement, WeightFormat format,
                    ProgramVerdict& verdict) {
  verdict.rows = placement.checks.rows;
  if (format != WeightFormat::kF16) {
    verdict.error = placement.checks.largest_root_mean_square;
    verdict.limit = RootMeanSquareLimit(format);
    return;
  }
  verdict.error = placement.checks.largest_relative;
  verdict.limit = placement.id.kind == ProgramKind::kHead ? kLogitErrorLimit : kAttendedErrorLimit;
}

}  // namespace

std::vector<ProgramVerdict> VerifyPrograms(NpuExecutor& executor, const VerifyOptions& options) {
  std::vector<ProgramVerdict> verdicts;
  const PlacementReport before = executor.report();
  for (const ProgramPlacement& placement : before.programs) {
    ProgramVerdict verdict;
    verdict.id = placement.id;
    if (!placement.in_service) {
      verdict.status = Unsupported(placement.refusal);
    } else if (placement.id.kind == ProgramKind::kExperts) {
      for (ExpertFunction* bucket : executor.BucketsOf(placement.id.layer, placement.id.index)) {
        if (verdict.status.ok()) VerifyOne(executor, *bucket, options, verdict);
      }
    } else {
      TakeOverChecks(placement, executor.plan().dense_weight_format, verdict);
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

Result<ProgramRun> RunProgram(const std::filesystem::path& package, const std::string& function,
                              Device& device, const std::map<std::string, TensorView>& inputs,
                              double timeout_ms) {
  NPUMOE_ASSIGN_OR_RETURN(std::unique_ptr<Program> program, device.Load(package, function));
  return RunLoadedProgram(program, device, inputs, timeout_ms);
}

Result<ProgramRun> RunLoadedProgram(std::unique_ptr<Program>& program, Device& device,
                                    const std::map<std::string, TensorView>& inputs,
                                    double timeout_ms) {
  NPUMOE_RETURN_IF_ERROR(CheckNoExtraInputs(*program, inputs));
  NPUMOE_ASSIGN_OR_RETURN(Buffers input_buffers, AllocateAll(*program, program->inputs()));
  NPUMOE_ASSIGN_OR_RETURN(Buffers output_buffers, AllocateAll(*program, program->outputs()));
  for (size_t i = 0; i < input_buffers.size(); ++i) {
    NPUMOE_RETURN_IF_ERROR(FillInput(program->inputs()[i], inputs, *input_buffers[i]));
  }
  const std::vector<DeviceBuffer*> in = Pointers(input_buffers);
  const std::vector<DeviceBuffer*> out = Pointers(output_buffers);
  NPUMOE_ASSIGN_OR_RETURN(const RequestId request, device.Submit({program.get(), in, out, {}}));
  const auto report = device.Wait(request, timeout_ms);
  if (!report.ok()) {
    if (report.status().code() == StatusCode::kDeadlineExceeded) {
      LeakAll(program, input_buffers, output_buffers);
    }
    return report.status();
  }
  ProgramRun run;
  run.report = *report;
  for (size_t i = 0; i < output_buffers.size(); ++i) {
    const TensorSpec& spec = program->outputs()[i];
    OwnedTensor tensor{spec, AlignedBuffer<std::byte>(spec.bytes())};
    std::memcpy(tensor.bytes.data(), output_buffers[i]->bytes().data(), spec.bytes());
    run.outputs.emplace(spec.name, std::move(tensor));
  }
  return run;
}

}  // namespace npumoe
