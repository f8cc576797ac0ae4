"""Opens a package with coremltools, which re-infers every type, and describes what it holds."""

import contextlib
import io
import logging
from dataclasses import dataclass
from pathlib import Path

logging.disable(logging.WARNING)
with contextlib.redirect_stderr(io.StringIO()):  # remarks about libraries that only a Mac has
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load as load_program
    from coremltools.converters.mil.mil import types

# The longest tensor axis that the Neural Engine takes (docs/design/ane-facts.md).
MAX_AXIS = 16384


@dataclass
class Package:
    path: str
    version: int  # of the specification
    functions: dict  # name -> coremltools function
    weight_bytes: int


def open_package(path):
    """Raises whatever coremltools raises for a package that it does not accept."""
    model = coremltools.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    version = spec.specificationVersion
    program = load_program(spec, specification_version=version, file_weights_dir=model.weights_dir)
    weights = Path(model.weights_dir) if model.weights_dir else None
    files = weights.rglob("*") if weights and weights.is_dir() else []
    size = sum(file.stat().st_size for file in files if file.is_file())
    return Package(str(path), version, dict(program.functions), size)


def is_fp16(var):
    return var.dtype == types.fp16


def _signature(variables):
    return {var.name: [list(var.shape), types.builtin_to_string(var.dtype)] for var in variables}


def _operation_counts(function):
    counts = {}
    for operation in function.operations:
        if operation.op_type != "const":
            counts[operation.op_type] = counts.get(operation.op_type, 0) + 1
    return dict(sorted(counts.items()))


def _too_long(function):
    produced = [out for operation in function.operations for out in operation.outputs]
    everything = list(function.inputs.values()) + produced
    return [var.name for var in everything if var.shape and max(var.shape) > MAX_AXIS]


def describe(package):
    functions = {}
    for name, function in package.functions.items():
        functions[name] = {
            "inputs": _signature(function.inputs.values()),
            "outputs": _signature(function.outputs),
            "operations": _operation_counts(function),
            "axis_over_limit": _too_long(function),
        }
    return {
        "package": package.path,
        "specification_version": package.version,
        "weight_bytes": package.weight_bytes,
        "functions": functions,
    }
