"""Makes tests/data/binding/samples.json: single weights of the reference models, as numpy reads
them from the files, by the logical tensors (one an expert, [out, in]) that a model has.

    python tools/make_binding_samples.py GOLDENS > tests/data/binding/samples.json

GOLDENS is the folder of the fourteen reference models. What a fused tensor means is written here
once more, on its own: the C++ code is checked against it.
"""

import json
import sys
from pathlib import Path

import numpy as np

SAMPLES_PER_TENSOR = 3
LAYERS = (0, -1)
EXPERTS = (0, -1)


def read_safetensors(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        raw = data[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F16": np.float16, "F32": np.float32}[entry["dtype"]])
        tensors[name] = values.astype(np.float32).reshape(entry["shape"])
    return tensors


def split_fused(name, tensor):
    """(name of one expert's tensor, that tensor) for a tensor that holds all experts of a layer."""
    for expert, values in enumerate(tensor):
        one = name.replace(".experts.", f".experts.{expert}.")
        if name.endswith("input_linear.weight"):
            prefix = name.replace("input_linear.weight", f"experts.{expert}.")
            half = len(values) // 2
            yield prefix + "gate_proj.weight", values[:half]
            yield prefix + "up_proj.weight", values[half:]
        elif name.endswith("output_linear.weight"):
            yield name.replace("output_linear", f"experts.{expert}.down_proj"), values
        elif name.endswith("gate_up_proj"):
            yield one.replace("gate_up_proj", "gate_proj.weight"), values[:, 0::2].T
            yield one.replace("gate_up_proj", "up_proj.weight"), values[:, 1::2].T
        elif name.endswith("gate_up_proj_bias"):
            yield one.replace("gate_up_proj_bias", "gate_proj.bias"), values[0::2]
            yield one.replace("gate_up_proj_bias", "up_proj.bias"), values[1::2]
        elif name.endswith("down_proj"):
            yield one + ".weight", values.T
        else:
            yield one.replace("down_proj_bias", "down_proj.bias"), values


def logical_tensors(folder):
    for path in sorted(folder.glob("model*.safetensors")):
        for name, tensor in read_safetensors(path).items():
            fused = tensor.ndim == 3 or (name.endswith("_bias") and ".experts." in name)
            yield from split_fused(name, tensor) if fused else [(name, tensor)]


def is_sampled(name, config):
    parts = name.split(".")
    experts = config.get("num_local_experts", config.get("num_experts",
                                                         config.get("n_routed_experts")))
    if "layers" in parts:
        layer = int(parts[parts.index("layers") + 1])
        if layer not in [i % config["num_hidden_layers"] for i in LAYERS]:
            return False
    if "experts" in parts:
        return int(parts[parts.index("experts") + 1]) in [i % experts for i in EXPERTS]
    return True


def samples_of(folder, random):
    config = json.loads((folder / "config.json").read_text())
    samples = {}
    for name, tensor in sorted(logical_tensors(folder)):
        if not is_sampled(name, config):
            continue
        rows = random.integers(0, tensor.shape[0], SAMPLES_PER_TENSOR)
        columns = random.integers(0, tensor.shape[1] if tensor.ndim == 2 else 1, SAMPLES_PER_TENSOR)
        matrix = tensor if tensor.ndim == 2 else tensor[:, None]
        samples[name] = [[int(r), int(c), float(matrix[r, c])] for r, c in zip(rows, columns)]
    return samples


def main():
    random = np.random.default_rng(1)
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    lines = []
    for folder in folders:
        tensors = ",\n".join(f"  {json.dumps(name)}: {json.dumps(values)}"
                             for name, values in samples_of(folder, random).items())
        lines.append(f"{json.dumps(folder.name)}: {{\n{tensors}\n}}")
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
