"""Packages of every form and weight format, attention and head, before an independent judge.

The unit tests leave one package of each kind (src/graph/sample_packages_test.cc). coremltools must
accept them and infer the declared types; executing them with numpy must give what the emulated
device gives. Blocks taken from a GGUF must stand for what the gguf package makes of them.
"""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import load_file, save_file

from conftest import ROOT
from judge.execution import execute
from judge.reading import describe, open_package

SEED = 20261124
TOLERANCE = 2e-3  # of the largest magnitude: fp16 keeps 2^-11, and a chain has several roundings
MASKED_OUT = -40000.0
HIDDEN, INTERMEDIATE = 96, 64

FORMATS = ["fp16", "int8", "int8-block32", "int4-block32", "lut4", "lut6"]
EXPERTS = [f"experts-{form}-{kind}" for form in "ABC" for kind in [*FORMATS, "clamped"]]
ATTENTION = [f"attention-{kind}" for kind in
             ["plain", "norm-per-head", "norm-and-clip", "sinks-and-biases", "pairs-side-by-side"]]
LATENT = ["latent-plain", "latent-low-rank-queries"]
NAMES = [*EXPERTS, *ATTENTION, *LATENT, "head-fp16", "head-int8", "gguf-Q8_0", "gguf-Q4_0"]
COMPRESSION = {"int8": "constexpr_blockwise_shift_scale", "lut": "constexpr_lut_to_dense",
               "int4": "constexpr_blockwise_shift_scale", "fp16": None}


@pytest.fixture(scope="module")
def packages(npumoe, tmp_path_factory):
    """The folder with all packages, written by the unit tests of the build that is tested."""
    program = Path(npumoe.program).parent / "src" / "graph" / "graph_test"
    folder = tmp_path_factory.mktemp("packages")
    if program.is_file():
        subprocess.run([str(program), "--gtest_filter=SamplePackages.*"], check=True, timeout=600,
                       env={**os.environ, "NPUMOE_SAMPLE_PACKAGES": str(folder)},
                       capture_output=True)
    if not any(folder.iterdir()):
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is missing or old; build the target `tests`")
        pytest.skip(f"{program} is missing or old; `make test` builds it")
    assert sorted(p.stem for p in folder.glob("*.mlpackage")) == sorted(NAMES)
    return folder


@pytest.fixture(scope="module")
def any_chip(tmp_path_factory):
    """A profile that takes scales of blocks; those of the Neural Engine refuse them."""
    text = (ROOT / "chips" / "m2-max.toml").read_text(encoding="utf-8")
    text, changed = re.subn(r"(refuses_block_scales = \{ value = )true", r"\1false", text)
    assert changed == 1
    path = tmp_path_factory.mktemp("chip") / "any.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mask_of(shape, rng):
    """[1, keys, 1, queries]: a causal mask whose oldest keys are empty slots of the history."""
    _, keys, _, queries = shape
    position = np.arange(queries) + keys - queries
    visible = np.arange(keys)[:, np.newaxis] <= position
    if keys > queries:
        visible[:rng.integers(1, keys - queries)] = False
    return np.where(visible, 0, MASKED_OUT).reshape(shape)


def inputs_of(function, rng):
    inputs = {}
    angles = None
    for name, var in function.inputs.items():
        shape = tuple(var.shape)
        if name == "mask":
            value = mask_of(shape, rng)
        elif name in ("cos", "sin"):
            if angles is None:
                half = rng.uniform(-3, 3, size=(1, shape[1] // 2, 1, shape[3]))
                angles = np.concatenate([half, half], axis=1)
            value = np.cos(angles) if name == "cos" else np.sin(angles)
        else:
            value = rng.normal(size=shape)
        inputs[name] = value.astype(np.float16)
    return inputs


@pytest.mark.parametrize("name", NAMES)
def test_the_judge_accepts_every_package(packages, name):
    description = describe(open_package(packages / f"{name}.mlpackage"))
    functions = description["functions"]
    histories = {"history_0", "history_64"}
    expected = {"experts": {"rows_32", "rows_64"}, "attention": histories, "latent": histories}
    kind = name.split("-")[0]
    one = kind in ("head", "gguf") or name.endswith("clamped")
    assert set(functions) == ({"main"} if one else expected[kind])
    for function in functions.values():
        assert function["axis_over_limit"] == []


@pytest.mark.parametrize("name", [n for n in EXPERTS if not n.endswith("clamped")])
def test_weights_have_the_size_of_their_format_and_are_stored_once(packages, name):
    description = describe(open_package(packages / f"{name}.mlpackage"))
    kind = name.split("-", 2)[2]
    weights = 2 * 3 * HIDDEN * INTERMEDIATE  # two experts, three matrices
    rows = 2 * (2 * INTERMEDIATE + HIDDEN)
    stored = {"fp16": 2 * weights, "int8": weights + 2 * rows,
              "int8-block32": weights + weights // 16, "int4-block32": weights // 2 + weights // 16,
              "lut4": weights // 2 + 2 * 3 * 32, "lut6": weights * 3 // 4 + 2 * 3 * 128}[kind]
    blobs = (6 if "-C-" in name else 3) * (1 if kind == "fp16" else 2)
    slack = 64 + 2 * 64 * blobs  # headers, and what aligns them
    assert stored < description["weight_bytes"] <= stored + slack
    operation = next(op for key, op in COMPRESSION.items() if kind.startswith(key))
    for function in description["functions"].values():
        if operation:
            assert function["operations"][operation] == (6 if "-C-" in name else 3)


@pytest.mark.parametrize("name", NAMES)
def test_packages_compute_what_the_emulator_computes(packages, any_chip, npumoe, name, tmp_path):
    rng = np.random.default_rng(SEED)
    package = packages / f"{name}.mlpackage"
    for key, function in open_package(package).functions.items():
        inputs = inputs_of(function, rng)
        save_file(inputs, tmp_path / "in.safetensors")
        npumoe("verify", "--package", package, "--function", key, "--device", "emulator",
               "--chip", any_chip, "--inputs", tmp_path / "in.safetensors",
               "--out", tmp_path / "out.safetensors")
        emulated = load_file(tmp_path / "out.safetensors")
        judged = execute(function, inputs)
        assert set(emulated) == set(judged)
        for output, want in judged.items():
            got = emulated[output].astype(np.float32)
            assert got.shape == want.shape
            assert np.abs(want).max() > 0, "an output of zeros proves nothing"
            assert np.abs(got - want).max() <= TOLERANCE * np.abs(want).max(), (key, output)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_blocks_of_a_gguf_stand_for_their_dequantised_values(packages, kind):
    function = open_package(packages / f"gguf-{kind}.mlpackage").functions["main"]
    made = {op.name: op for op in function.operations if op.op_type.startswith("constexpr_")}
    assert sorted(made) == ["w_down_0", "w_gate_0", "w_up_0"]
    for name, operation in made.items():
        role = name.split("_")[1]
        blocks = np.frombuffer((packages / f"gguf-{kind}.{role}").read_bytes(), np.uint8)
        want = dequantize(blocks, GGMLQuantizationType[kind]).astype(np.float16)
        got = np.asarray(operation.materialized_val_inference()).reshape(-1)
        assert got.dtype == np.float16
        assert np.array_equal(got, want)
        # The same integers and the same scales, not only the same products.
        block = {"Q8_0": 34, "Q4_0": 18}[kind]
        scales = blocks.reshape(-1, block)[:, :2].copy().view(np.float16).reshape(-1)
        assert np.array_equal(operation.scale.val.reshape(-1), scales)
        whole = np.rint(dequantize(blocks, GGMLQuantizationType[kind]).reshape(-1, 32)
                        / scales.astype(np.float32)[:, np.newaxis])
        assert np.array_equal(operation.data.val.reshape(-1, 32).astype(np.float32), whole)


def test_the_profiles_of_the_neural_engine_refuse_scales_of_blocks(packages, npumoe):
    command = [npumoe.program, "verify", "--graph",
               str(packages / "experts-C-int4-block32.mlpackage"), "--chip", "m2-max"]
    done = subprocess.run(command, encoding="utf-8", capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "block-scales" in done.stdout + done.stderr
