#!/usr/bin/env python3
"""Measures `npumoe compile` on a synthetic model with the layer shape of Qwen3-30B-A3B.

    tools/compile_check.py [--layers 4] [--rounds 3] [--weights int8 fp16] [--folder DIR]

Checks what docs/compiling.md promises: the peak of anonymous memory (mapped files do not count)
stays below 1.5 times the weights of the plan's largest program plus 300 MB, and packages in fp16
are written at 60% or more of the rate of `dd conv=fsync`, which alternates with the compiles. Needs
Linux (/proc), numpy, and 1.2 GB of disk for each layer for the model and as much again for the
packages. Exits with 1 when a bound does not hold.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 1e6
SAMPLE_SECONDS = 0.01
# What docs/compiling.md promises.
ALLOWED_PROGRAMS = 1.5
ALLOWED_EXTRA_BYTES = 300 * MEGABYTE
NEEDED_SHARE_OF_DD = 0.6


@dataclass
class Shape:
    """Of a Qwen3-MoE model; the defaults are those of a layer of Qwen3-30B-A3B."""
    layers: int = 4
    experts: int = 128
    experts_per_token: int = 8
    hidden: int = 2048
    intermediate: int = 768
    heads: int = 32
    kv_heads: int = 4
    head_dim: int = 128
    vocab: int = 1024


def config_of(shape):
    return {"model_type": "qwen3_moe", "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim,
            "vocab_size": shape.vocab, "num_experts": shape.experts,
            "num_experts_per_tok": shape.experts_per_token,
            "moe_intermediate_size": shape.intermediate, "intermediate_size": shape.intermediate,
            "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
            "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 1e6,
            "max_position_embeddings": 32768, "tie_word_embeddings": False}


def tensors_of(shape):
    """Name and shape of every tensor, in the order of the file."""
    h, width = shape.hidden, shape.head_dim
    yield "model.embed_tokens.weight", (shape.vocab, h)
    yield "lm_head.weight", (shape.vocab, h)
    yield "model.norm.weight", (h,)
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        for norm, size in (("input_layernorm", h), ("post_attention_layernorm", h),
                           ("self_attn.q_norm", width), ("self_attn.k_norm", width)):
            yield f"{prefix}{norm}.weight", (size,)
        for part, heads in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads)):
            yield f"{prefix}self_attn.{part}_proj.weight", (heads * width, h)
        yield f"{prefix}self_attn.o_proj.weight", (h, shape.heads * width)
        yield f"{prefix}mlp.gate.weight", (shape.experts, h)
        for expert in range(shape.experts):
            for part in ("gate", "up"):
                yield (f"{prefix}mlp.experts.{expert}.{part}_proj.weight",
                       (shape.intermediate, h))
            yield f"{prefix}mlp.experts.{expert}.down_proj.weight", (h, shape.intermediate)


def random_bf16(count, random):
    """Random signs and fractions at one magnitude, 2^-6 to 2^-5: fast, and no two matrices alike,
    which a package would hold only once."""
    bits = np.frombuffer(random.bytes(2 * count), np.uint16)
    return (bits & 0x807F) | 0x3C80


def write_model(folder, shape):
    """A model folder (config.json, model.safetensors in BF16), streamed to the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_of(shape)))
    header, end = {}, 0
    for name, dims in tensors_of(shape):
        begin, end = end, end + 2 * int(np.prod(dims))
        header[name] = {"dtype": "BF16", "shape": dims, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)  # readers map aligned tensors and would copy others
    random = np.random.default_rng(1)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, dims in tensors_of(shape):
            file.write(random_bf16(int(np.prod(dims)), random).tobytes())


def run(*command):
    """stdout of a command that must succeed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"compile_check: {' '.join(map(str, command))}: exit {done.returncode}\n"
                         f"{done.stderr}")
    return done.stdout


def anonymous_bytes(process_id):
    """RssAnon of a process, 0 when it has ended."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def run_watched(*command):
    """(seconds, peak of anonymous memory in bytes, stdout) of a command that must succeed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        start, peak = time.monotonic(), 0
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=errors)
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(SAMPLE_SECONDS)
        seconds = time.monotonic() - start
        out.seek(0), errors.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"compile_check: {' '.join(map(str, command))}: exit "
                             f"{process.returncode}\n{errors.read()}")
        return seconds, peak, out.read()


def make_plan(npumoe, model, folder, weights, tokens=4096):
    """Calibrates on random ids (once for a model) and plans; returns the plan's path."""
    calibration = model / "calibration.json"
    if not calibration.exists():
        vocab = json.loads((model / "config.json").read_text())["vocab_size"]
        ids = model / "ids"
        ids.write_text(" ".join(map(str, np.random.default_rng(2).integers(0, vocab, tokens))))
        run(npumoe, "calibrate", model, "--ids-file", ids, "-c", 512, "-o", calibration)
    plan = folder / f"{weights}.plan.json"
    run(npumoe, "plan", model, "--calibration", calibration, "--min-npu-share", 0.9,
        "--npu-weights", weights, "-o", plan)
    return plan


@dataclass
class Compiled:
    seconds: float
    peak_bytes: int
    programs: int
    package_bytes: int  # weight files of all packages
    largest_bytes: int  # the largest weight file

    def allowed_bytes(self):
        return ALLOWED_PROGRAMS * self.largest_bytes + ALLOWED_EXTRA_BYTES


def compile_plan(npumoe, model, plan, cache):
    """Into an empty cache, which is removed afterwards."""
    shutil.rmtree(cache, ignore_errors=True)
    seconds, peak, out = run_watched(npumoe, "compile", model, "--plan", plan, "--cache", cache,
                                     "--json")
    sizes = [file.stat().st_size for file in cache.glob("*.mlpackage/Data/**/weight.bin")]
    report = json.loads(out)
    shutil.rmtree(cache)
    assert len(sizes) == report["written"] > 0 and sum(sizes) == report["bytes_written"]
    return Compiled(seconds, peak, len(sizes), sum(sizes), max(sizes))


def dd_rate(folder, size):
    """Bytes a second that `dd conv=fsync` writes."""
    path, blocks = folder / "dd", max(1, round(size / 2**20))
    start = time.monotonic()
    run("dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={blocks}", "conv=fsync")
    seconds = time.monotonic() - start
    path.unlink()
    return blocks * 2**20 / seconds


def check(npumoe, model, folder, weights, rounds):
    """Rows of the table: what, value, bound, whether it holds (None: no bound)."""
    plan = make_plan(npumoe, model, folder, weights)
    compiles, rates = [], []
    for _ in range(rounds):
        compiles.append(compile_plan(npumoe, model, plan, folder / "cache"))
        rates.append(dd_rate(folder, compiles[-1].package_bytes))
    last = compiles[-1]
    peak = max(c.peak_bytes for c in compiles)
    rate = statistics.median(c.package_bytes / c.seconds for c in compiles)
    shares = [c.package_bytes / c.seconds / r for c, r in zip(compiles, rates)]
    share = statistics.median(shares)
    needed = NEEDED_SHARE_OF_DD if weights == "fp16" else None
    return [
        (f"{weights}: programs", f"{last.programs}", "", None),
        ("  all weights", f"{last.package_bytes / MEGABYTE:.0f} MB", "", None),
        ("  largest program", f"{last.largest_bytes / MEGABYTE:.0f} MB", "", None),
        ("  peak memory", f"{peak / MEGABYTE:.0f} MB",
         f"< {last.allowed_bytes() / MEGABYTE:.0f} MB", peak < last.allowed_bytes()),
        ("  compile", f"{rate / MEGABYTE:.0f} MB/s", "", None),
        ("  dd conv=fsync", f"{statistics.median(rates) / MEGABYTE:.0f} MB/s", "", None),
        ("  share of dd", f"{share:.0%} ({min(shares):.0%} to {max(shares):.0%})",
         f">= {needed:.0%}" if needed else "", share >= needed if needed else None),
    ]


def print_table(rows):
    head = ("measured", "value", "bound", "")
    words = {True: "holds", False: "FAILS", None: ""}
    cells = [head] + [(*row[:3], words[row[3]]) for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(4)]
    cells.insert(1, tuple("-" * width for width in widths))
    for what, *rest in cells:
        line = [what.ljust(widths[0])] + [c.rjust(w) for c, w in zip(rest, widths[1:])]
        print("  ".join(line).rstrip())


def measure(options, folder):
    """The rows for every format; a model that an earlier call left in the folder serves again."""
    model = folder / f"qwen3-moe-{options.layers}-layers"
    if not (model / "model.safetensors").exists():
        print("compile_check: writing the model", file=sys.stderr)
        write_model(model, Shape(layers=options.layers))
    rows = []
    for weights in options.weights:
        print(f"compile_check: {weights}", file=sys.stderr)
        rows += check(options.npumoe, model, folder, weights, options.rounds)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", nargs="+", default=["int8", "fp16"])
    parser.add_argument("--folder", type=Path, help="where to work and to leave the model for the "
                        "next time (default: a temporary folder)")
    parser.add_argument("--npumoe", type=Path, default=ROOT / "build" / "release" / "npumoe")
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        sys.exit("compile_check: needs /proc to see the memory of a process, so Linux")
    if options.folder:
        rows = measure(options, options.folder)
    else:
        with tempfile.TemporaryDirectory(prefix="compile-check-") as folder:
            rows = measure(options, Path(folder))
    print_table(rows)
    sys.exit(any(row[3] is False for row in rows))


if __name__ == "__main__":
    main()
