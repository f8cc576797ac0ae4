"""Executes one function of a package: sums in float32, each result rounded to its declared type."""

import numpy as np

from .operations import evaluate
from .reading import is_fp16


class BadInputs(Exception):
    pass


def _widened(value):
    if isinstance(value, (str, bytes)):
        return value
    value = np.asarray(value)
    return value.astype(np.float32) if value.dtype == np.float16 else value


def _as_declared(var, value, operation):
    value = np.asarray(value)
    if value.shape != tuple(var.shape):
        raise BadInputs(f"{operation}: computed {value.shape}, declared {tuple(var.shape)}")
    return value.astype(np.float16).astype(np.float32) if is_fp16(var) else value


def _check_inputs(function, inputs):
    if set(inputs) != set(function.inputs):
        raise BadInputs(f"inputs {sorted(inputs)} given, {sorted(function.inputs)} declared")
    for name, var in function.inputs.items():
        if inputs[name].shape != tuple(var.shape):
            raise BadInputs(f"input {name}: {inputs[name].shape} given, {var.shape} declared")


def execute(function, inputs):
    """inputs: name -> array. Returns name -> float32 array of every output."""
    _check_inputs(function, inputs)
    values = {var: _as_declared(var, _widened(inputs[name]), name)
              for name, var in function.inputs.items()}

    def read(bound):
        if isinstance(bound, (list, tuple)):
            return [read(one) for one in bound]
        return values[bound] if bound in values else _widened(bound.val)

    for operation in function.operations:
        if operation.op_type == "const":
            continue
        if operation.op_type.startswith("constexpr_"):
            results = [operation.materialized_val_inference()]
        else:
            bound = {key: read(var) for key, var in operation.inputs.items() if var is not None}
            with np.errstate(over="ignore"):
                results = evaluate(operation.op_type, bound)
        if not isinstance(results, list):
            results = [results]
        for var, value in zip(operation.outputs, results):
            with np.errstate(over="ignore"):
                values[var] = _as_declared(var, _widened(value), operation.name)
    return {var.name: np.ascontiguousarray(values[var], dtype=np.float32)
            for var in function.outputs}
