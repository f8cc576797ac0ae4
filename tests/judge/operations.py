"""What each operation means, in numpy and by its published definition.

A rule takes the operation's bound parameters (floats as float32) and returns its output or a list
of outputs. Only operations that our packages use are known; any other is refused by name.
"""

import numpy as np

RULES = {}


class UnknownOperation(Exception):
    pass


def rule(*names):
    def register(function):
        for name in names:
            RULES[name] = function
        return function

    return register


def evaluate(kind, parameters):
    if kind not in RULES:
        raise UnknownOperation(f"operation '{kind}' is not known; known are {sorted(RULES)}")
    return RULES[kind](parameters)


def _sigmoid(x):
    return np.where(x >= 0, 1, np.exp(np.minimum(x, 0))) / (1 + np.exp(-np.abs(x)))


def _axes(p, key="axes"):
    return None if p.get(key) is None else tuple(int(a) for a in np.atleast_1d(p[key]))


ELEMENTWISE = {
    "abs": np.abs,
    "exp": np.exp,
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "sqrt": np.sqrt,
    "square": np.square,
    "tanh": np.tanh,
}
for _name, _function in ELEMENTWISE.items():
    RULES[_name] = lambda p, f=_function: f(p["x"])

PAIRWISE = {
    "add": np.add,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mul": np.multiply,
    "real_div": np.divide,
    "sub": np.subtract,
}
for _name, _function in PAIRWISE.items():
    RULES[_name] = lambda p, f=_function: f(p["x"], p["y"])

REDUCTIONS = {
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_sum": np.sum,
}
for _name, _function in REDUCTIONS.items():
    RULES[_name] = lambda p, f=_function: f(
        p["x"], axis=_axes(p), keepdims=bool(p.get("keep_dims", False)))


@rule("conv")
def conv(p):
    """1x1 convolutions only: y[n, g, o] = sum over c of w[g, o, c] * x[n, g, c]."""
    x, weight = p["x"], p["weight"]
    if weight.shape[2:] != (1, 1):
        raise UnknownOperation(f"conv with a kernel of {weight.shape[2:]}, only 1x1 is known")
    groups = int(p.get("groups", 1))
    batch, _, height, width = x.shape
    x = x.reshape(batch, groups, -1, height * width)
    weight = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1])
    y = np.matmul(weight[np.newaxis], x).reshape(batch, -1, height, width)
    bias = p.get("bias")
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


@rule("linear")
def linear(p):
    y = np.matmul(p["x"], p["weight"].T)
    return y if p.get("bias") is None else y + p["bias"]


@rule("matmul")
def matmul(p):
    x = p["x"].swapaxes(-1, -2) if p.get("transpose_x") else p["x"]
    y = p["y"].swapaxes(-1, -2) if p.get("transpose_y") else p["y"]
    return np.matmul(x, y)


@rule("rsqrt")
def rsqrt(p):
    return 1 / np.sqrt(p["x"] + p.get("epsilon", 0))


@rule("clip")
def clip(p):
    return np.clip(p["x"], p["alpha"], p["beta"])


@rule("softmax")
def softmax(p):
    axis = int(p["axis"])
    powers = np.exp(p["x"] - np.max(p["x"], axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


@rule("concat")
def concat(p):
    return np.concatenate(p["values"], axis=int(p["axis"]))


@rule("split")
def split(p):
    axis = int(p["axis"])
    if p.get("split_sizes") is not None:
        borders = np.cumsum(p["split_sizes"]).astype(int)[:-1]
        return np.split(p["x"], borders, axis=axis)
    return np.split(p["x"], int(p["num_splits"]), axis=axis)


@rule("slice_by_index")
def slice_by_index(p):
    x = p["x"]

    def flag(key, axis):
        return p.get(key) is not None and bool(p[key][axis])

    parts = []
    for axis in range(x.ndim):
        begin, end = int(p["begin"][axis]), int(p["end"][axis])
        step = 1 if p.get("stride") is None else int(p["stride"][axis])
        if flag("squeeze_mask", axis):
            parts.append(begin)
        else:
            parts.append(slice(None if flag("begin_mask", axis) else begin,
                               None if flag("end_mask", axis) else end, step))
    return x[tuple(parts)]


@rule("slice_by_size")
def slice_by_size(p):
    parts = [slice(int(b), None if int(s) == -1 else int(b) + int(s))
             for b, s in zip(p["begin"], p["size"])]
    return p["x"][tuple(parts)]


@rule("reshape")
def reshape(p):
    return p["x"].reshape([int(n) for n in p["shape"]])


@rule("transpose")
def transpose(p):
    return p["x"].transpose([int(n) for n in p["perm"]])


@rule("expand_dims")
def expand_dims(p):
    return np.expand_dims(p["x"], _axes(p))


@rule("squeeze")
def squeeze(p):
    return np.squeeze(p["x"], _axes(p))


@rule("cast")
def cast(p):
    return p["x"]  # rounding to the declared type happens to every output
