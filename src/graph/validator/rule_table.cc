// The table of rules, by subject. docs/validator-rules.md shows it.
#include "graph/names.h"
#include "graph/validator/rules.h"

namespace npumoe {
namespace {

constexpr Severity kError = Severity::kError;
constexpr Severity kWarning = Severity::kWarning;

constexpr Rule kRules[] = {
    // Shapes.
    {"shape-not-static", kError, CheckedBy::kReader, "every axis of every value is a number",
     "symbolic, ranged and enumerated shapes leave the NPU or are slow on their first use; graphs "
     "here cannot express them, so a package that has one is refused when it is read",
     "3: rules, A22, ct (D)", "write one function for each shape", "", nullptr},
    {"rank-too-high", kError, CheckedBy::kGraph, "a tensor has at most max_rank axes",
     "programs with tensors of more axes are rejected", "3: rules (D), guide (R)",
     "merge axes with reshape", "limits.max_rank", FindHighRanks},
    {"axis-too-long", kError, CheckedBy::kGraph, "the last two axes are at most max_axis long",
     "height and width have a hard limit, transposed ones as well", "3: guide (R, one case M)",
     "use form C, fewer experts in one program, or shorter chunks", "limits.max_axis",
     FindLongAxes},
    {"channels-too-many", kError, CheckedBy::kGraph, "there are at most max_channels channels",
     "the tables allow 65536 channels, but convolutions with about 32000 were refused",
     "3: guide (R); Orion, maderix (M)", "use form C, or cut the output into slices",
     "limits.max_channels", FindManyChannels},
    {"batch-too-large", kError, CheckedBy::kGraph, "axes before the channels are at most max_batch",
     "the batch has a hard limit", "3: guide (R)", "launch the program several times",
     "limits.graph.max_batch", FindLargeBatches},
    {"last-axis-unaligned", kWarning, CheckedBy::kGraph,
     "the last axis is a multiple of last_axis_bytes",
     "the last axis is contiguous and padded to 64 bytes: 32 fp16 or 64 int8 values",
     "3: A22, rules (D)", "make the last axis a multiple of 32", "limits.graph.last_axis_bytes",
     FindUnalignedLastAxes},
    {"last-axis-single", kWarning, CheckedBy::kGraph, "the last axis is longer than 1",
     "a last axis of length 1 takes 32 times its memory, 64 times in int8", "3: A22 (D)",
     "move a longer axis to the end", "limits.graph.last_axis_bytes", FindSingleColumns},
    {"last-axis-short", kWarning, CheckedBy::kGraph,
     "the last axis has at least min_last_axis values",
     "the smallest buffer holds about 49 KB: shorter rows cost the same", "3: guide (R), Orion (M)",
     "give the program more rows", "limits.graph.min_last_axis", FindShortLastAxes},
    {"last-axis-transposed", kWarning, CheckedBy::kGraph, "transposes leave the last axis in place",
     "the last axis is the contiguous one: moving it copies the tensor value by value",
     "3, 5: A22, rules (D)", "write products so that the channel axis is summed over",
     "limits.graph.last_axis_bytes", FindTransposedLastAxes},
    {"tile-exceeded", kWarning, CheckedBy::kGraph, "a tensor fits into tile_bytes",
     "larger activations are computed tile by tile from memory", "7: guide (R, M on M5)",
     "use shorter chunks or capacities", "limits.graph.tile_bytes", FindLargeTiles},
    {"working-set", kWarning, CheckedBy::kGraph,
     "operands and results of an operation fit into working_set_bytes",
     "throughput fell by 30% between working sets of 24 MB and 96 MB", "7: maderix (M)",
     "use shorter chunks or capacities", "limits.graph.working_set_bytes", FindLargeWorkingSets},

    // Types.
    {"interface-type", kError, CheckedBy::kGraph, "inputs and outputs are F16, F32 or I32",
     "packages have no other arrays; bool masks are not allowed", "4: fxlin (M)",
     "use an fp16 mask of 0 and -40000", "", FindInterfaceTypes},
    {"activation-type", kError, CheckedBy::kGraph, "activations have one of activation_types",
     "other types leave the NPU", "4: rules (D)",
     "declare inputs and results fp16; convert on the CPU", "limits.graph.activation_types",
     FindActivationTypes},
    {"cast-to-int32", kError, CheckedBy::kGraph, "nothing is cast to int32",
     "the chip's compiler rejects the cast", "4: guide (R)", "keep indices on the CPU",
     "limits.graph.refuses_int32_cast", FindInt32Casts},
    {"constant-not-finite", kWarning, CheckedBy::kGraph, "constants are finite in their type",
     "NaN is not preserved, and masks of minus infinity give NaN where a row is masked whole",
     "4: rules, A22 (D); FluidAudio (M)", "use -40000 in masks", "", FindInfiniteConstants},

    // Operations.
    {"operation-unknown", kError, CheckedBy::kGraph, "operations are those of graph/builder.h",
     "this program cannot write, read or execute it, so nothing is known about its placement", "5",
     "express it by other operations or compute it on the CPU", "", FindUnknownOperations},
    {"refused-operation", kError, CheckedBy::kGraph, "operations are none of refused_ops",
     "the operation has no path on the chip: it leaves the NPU or does not compile",
     "5: guide (R), fxlin (M)", "express it by other operations or compute it on the CPU",
     "limits.refused_ops", FindRefusedOperations},
    {"state-in-graph", kError, CheckedBy::kGraph, "the graph keeps no state",
     "writing state in the graph was refused or fell to the CPU, and one state must not be used by "
     "two predictions at once",
     "8: guide (R), mobius, FluidAudio (M), the maker (D)",
     "keep the cache on the host: history as input, new keys and values as outputs",
     "limits.graph.refuses_state", FindState},
    {"run-time-slice", kError, CheckedBy::kGraph, "bounds of slices are constants",
     "slices at computed offsets ran on the CPU and copied", "5: fxlin (M)",
     "gather the rows on the CPU", "limits.graph.refuses_run_time_slices", FindRunTimeSlices},
    {"arg-reduce-too-long", kError, CheckedBy::kGraph,
     "argmax and argmin go over at most max_arg_reduce values", "the axis has a hard limit",
     "5: guide (R)", "reduce in slices", "limits.graph.max_arg_reduce", FindLongArgReductions},
    {"slice-offset", kWarning, CheckedBy::kGraph, "slices begin at the start of the last axis",
     "with an offset, values above 4094 became infinite on M1 and M2",
     "4: guide (R), ANEForge (M, M2 Pro)", "slice another axis", "limits.graph.clamps_slices",
     FindOffsetSlices},
    {"fused-attention", kWarning, CheckedBy::kGraph, "attention is written out, head by head",
     "fused attention reached the NPU only from about 2 million elements, and a private form "
     "ignored its mask",
     "2, 5: A22, rules (D), Orion (M)", "write one head at a time: product, softmax, product",
     "limits.graph.prefers_convolutions", FindFusedAttention},
    {"layer-norm", kWarning, CheckedBy::kGraph, "norms are written out over the channel axis",
     "whether layer_norm compiles depends on the shape in no order", "5: rules (D), ANEForge (M)",
     "write square, mean, rsqrt and product over the channel axis",
     "limits.graph.prefers_convolutions", FindLayerNorms},
    {"many-branches", kWarning, CheckedBy::kGraph, "fewer than branches values join again",
     "twelve or more branches that join again slow the compiler", "9: guide (M)",
     "give every branch an output of its own", "limits.graph.branches", FindManyBranches},

    // Products.
    {"groups-not-dividing", kError, CheckedBy::kGraph, "groups divide input and output channels",
     "the convolution is refused", "5: guide (R)", "choose a group count that divides both", "",
     FindIndivisibleGroups},
    {"kernel-too-large", kError, CheckedBy::kGraph,
     "kernels are at most max_kernel_width wide and max_kernel_height high",
     "convolution kernels have a largest size", "5: guide (R)", "split the kernel",
     "limits.graph.max_kernel_width limits.graph.max_kernel_height", FindLargeKernels},
    {"stride-not-taken", kError, CheckedBy::kGraph, "strides are some of conv_strides",
     "the tables have no other stride factors", "5: guide (R), rules (D)",
     "slice the result, or use strides one after another", "limits.graph.conv_strides",
     FindOddStrides},
    {"run-time-weight", kError, CheckedBy::kGraph,
     "a computed convolution weight meets a batch of at most max_run_time_weight_batch",
     "convolutions with a computed weight take a batch of 1 only", "5: guide (R)",
     "make the weight a constant, or use matmul", "limits.graph.max_run_time_weight_batch",
     FindRunTimeWeights},
    {"product-depth", kError, CheckedBy::kGraph,
     "operands of matmul with five axes have at most max_product_depth in the second",
     "the contracted operand has a depth of 1", "5: guide (R)", "merge the axis into the batch",
     "limits.graph.max_product_depth", FindDeepProducts},
    {"groups-decomposed", kWarning, CheckedBy::kGraph,
     "a sum of a grouped convolution has at most group_products products",
     "beyond Cin*kW*kH = 2048 grouped convolutions are decomposed (taken per group here; the "
     "source leaves it open)",
     "5: guide (R)", "use form C", "limits.graph.group_products", FindDecomposedGroups},
    {"groups-uneven", kWarning, CheckedBy::kGraph, "the number of groups divides group_cores",
     "grouped convolutions are fast when the groups spread evenly over the engine's cores",
     "5: guide (R)", "use form C, or a group count that divides the cores",
     "limits.graph.group_cores", FindUnevenGroups},
    {"product-split", kWarning, CheckedBy::kGraph,
     "the second matrix of matmul fits into kernel_memory_bytes",
     "output channels beyond 64 KB of kernel memory are computed in parts", "5, 7: guide (R)",
     "expect several passes, or write a convolution", "limits.graph.kernel_memory_bytes",
     FindSplitProducts},
    {"product-not-conv", kWarning, CheckedBy::kGraph, "products by a weight are convolutions",
     "a linear layer is best written as a 1x1 convolution", "5: A22, rules (D)", "use form A or C",
     "limits.graph.prefers_convolutions", FindMatrixProducts},
    {"inner-length", kWarning, CheckedBy::kGraph, "a sum has at most accurate_products products",
     "fp16 results of down projections were 3% off at an inner size of 5632, and another project "
     "found them unacceptable",
     "4: guide, oMLX (M)", "verify the program, or keep these experts on the CPU",
     "limits.graph.accurate_products", FindLongSums},

    // Weights.
    {"block-scales", kError, CheckedBy::kGraph, "an output channel has one scale",
     "scales for blocks push convolutions to the CPU", "6: ct (D), ane-book (M)",
     "requantise with one scale a channel (format int8)", "limits.graph.refuses_block_scales",
     FindBlockScales},
    {"int8-activations", kError, CheckedBy::kGraph, "activations are not quantised",
     "int8 weights and activations together pay only from A17 Pro and M4 on",
     "6: ct (D); maderix, guide (M)", "quantise the weights alone",
     "limits.graph.refuses_int8_activations", FindInt8Activations},
    {"table-bits", kError, CheckedBy::kGraph, "tables have 2^n entries, n of table_bits",
     "palettised weights have indices of 1, 2, 3, 4, 6 or 8 bits", "6: ct (D)",
     "use the format lut4 or lut6", "limits.graph.table_bits", FindOddTables},
    {"weights-expanded", kWarning, CheckedBy::kGraph, "weights are fp16 or palettised",
     "the chip expands int8 weights when it loads them: memory and bandwidth are those of fp16",
     "6: guide (R)", "use the format lut4 or lut6", "limits.graph.expands_int8",
     FindExpandedWeights},
    {"table-groups-small", kWarning, CheckedBy::kGraph,
     "a table serves at least min_table_group channels",
     "tables for two channels doubled the time, one for each channel quadrupled it", "6: ct (D, M)",
     "use one table a matrix, or one for 8 or 16 channels", "limits.graph.min_table_group",
     FindSmallTableGroups},
    {"table-stride", kWarning, CheckedBy::kGraph,
     "convolutions by palettised weights have strides up to max_table_stride",
     "the tables have no larger strides for them", "5: guide (R)", "use another weight format",
     "limits.graph.max_table_stride", FindTableStrides},
    {"weight-split", kWarning, CheckedBy::kGraph, "a weight has at most streamed_weight_bytes",
     "a layer's weights above 16 MB are streamed in parts", "7: guide (R)",
     "expect several passes, or split the layer", "limits.graph.streamed_weight_bytes",
     FindLargeWeights},

    // Sizes.
    {"program-too-large", kError, CheckedBy::kGraph,
     "the weights of a program have at most max_program_bytes",
     "larger programs fall back to the CPU from about 1.2 GB, or fail to compile",
     "7: NPUMoE, ANEForge, ane-book (M)", "split the group into several programs",
     "limits.max_program_bytes", FindLargeProgram},
    {"weight-file-too-large", kError, CheckedBy::kGraph,
     "a package's weight file has at most max_weight_file_bytes",
     "2147483648 bytes are refused with a message", "7: coremltools (M)",
     "split the group into several packages", "limits.max_weight_file_bytes", FindLargeWeightFile},
    {"slow-compile", kWarning, CheckedBy::kGraph,
     "the weights of a program have at most fast_compile_bytes",
     "above 250 MB compiling takes long and fills the cache", "7: ane-book (M)",
     "use smaller groups", "limits.graph.fast_compile_bytes", FindSlowCompile},
    {"program-small", kWarning, CheckedBy::kGraph,
     "a program has at least placed_parameters parameters",
     "below about 5 million parameters the run time may keep a program on the CPU",
     "2: astronomical (M)", "put more experts into one program", "limits.graph.placed_parameters",
     FindSmallProgram},
    {"launch-bound", kWarning, CheckedBy::kGraph, "a launch computes longer than it takes to start",
     "launch time times rate is more than the program's arithmetic: launching dominates", "9, 10",
     "put more experts or rows into one program", "npu.launch_ms npu.tflops", FindLaunchBound},
    {"system-too-old", kError, CheckedBy::kGraph, "system_version has what the package uses",
     "several functions, compressed weights by block or table, fused attention and state need "
     "version 15 of the system, quantised activations 14, fp16 inputs 13",
     "1: ct, the maker (D)", "update the system, or write fp16 weights and one function a package",
     "limits.graph.system_version", FindOldSystem},

    // What a plan or the run time keeps.
    {"too-many-programs", kError, CheckedBy::kPlan, "a plan has at most max_programs programs",
     "loading fails beyond 126 to 128 programs in a process, whatever their size",
     "7: oMLX, guide (M)", "use larger groups, or several workers", "limits.max_programs", nullptr},
    {"refused-form", kError, CheckedBy::kPlan, "programs have none of refused_forms",
     "the chip does not take graphs of that form", "12", "plan again for this chip",
     "limits.refused_forms", nullptr},
    {"requests-in-flight", kError, CheckedBy::kDevice,
     "at most max_requests_in_flight launches wait at once", "the driver's queue has an end",
     "7: guide (R)", "wait for a launch before the next", "limits.max_requests_in_flight", nullptr},
};

}  // namespace

std::span<const Rule> ValidatorRules() { return kRules; }

const char* Name(CheckedBy by) {
  switch (by) {
    case CheckedBy::kGraph:
      return "graph";
    case CheckedBy::kReader:
      return "reader";
    case CheckedBy::kPlan:
      return "plan";
    case CheckedBy::kDevice:
      return "device";
  }
  return "";
}

const char* Name(Severity severity) { return severity == Severity::kError ? "error" : "warning"; }

std::string Shown(const TensorSpec& spec) {
  return Quoted(spec.name) + " " + Name(spec.dtype) + " " + spec.shape.ToString();
}

std::string Shown(const Operation& operation) {
  return "operation " + Quoted(operation.name) + " (" + operation.type + ")";
}

}  // namespace npumoe
