"""Weights that are NaN or infinite: every command that runs a model refuses to answer, by name.

What the session looks at, on the CPU and with a planned NPU, is tested beside it
(src/runtime/finite_check_test.cc); here each command passes the error on.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from conftest import GOLDENS, ROOT

PROGRAM = Path(os.environ.get("NPUMOE", ROOT / "build" / "release" / "npumoe"))
GOLDEN = GOLDENS / "qwen3-moe"
EXPERT = "model.layers.1.mlp.experts.{}.down_proj.weight"
# What is broken, and how the message calls it.
DAMAGES = {
    "embedding": (["model.embed_tokens.weight"], "embedding: element"),
    "norm": (["model.layers.1.input_layernorm.weight"], "layer 1, attention norm: element"),
    "router": (["model.layers.2.mlp.gate.weight"], "layer 2, router: element"),
    "experts": ([EXPERT.format(e) for e in range(16)], "layer 1, expert 0, down: element"),
    "final norm": (["model.norm.weight"], "final norm: element"),
    "head": (["lm_head.weight"], "head: element"),
}
NAN_BYTES = {"F32": np.array([np.nan], np.float32).tobytes(), "BF16": b"\xc0\x7f",
             "F16": np.array([np.nan], np.float16).tobytes()}
INFINITY_BYTES = {"F32": np.array([np.inf], np.float32).tobytes(), "BF16": b"\x80\x7f",
                  "F16": np.array([np.inf], np.float16).tobytes()}
COMMANDS = {
    "dump": ["dump", "MODEL", "--ids-file", "IDS", "--out", "OUT"],
    "perplexity": ["perplexity", "MODEL", "--ids-file", "IDS", "-c", "64"],
    "calibrate": ["calibrate", "MODEL", "--ids-file", "IDS", "-o", "OUT"],
    "run": ["run", "MODEL", "--ids-file", "IDS", "-n", "4", "--temp", "0"],
}


def break_tensors(folder, names, bytes_of):
    """Every tensor of `names` gets one such number in each row (vectors: one)."""
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    for name in names:
        entry = header[name]
        value = bytes_of[entry["dtype"]]
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        for at in range(begin, end, entry["shape"][-1] * len(value)):
            data[at:at + len(value)] = value
    path.write_bytes(data)


@pytest.fixture(params=DAMAGES)
def broken(request, tmp_path):
    """(folder of a model with NaN in it, how the message calls what is broken)"""
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN, folder)
    names, called = DAMAGES[request.param]
    break_tensors(folder, names, NAN_BYTES)
    return folder, called


def run_on(command, folder, tmp_path):
    ids = tmp_path / "ids"
    ids.write_text(" ".join(str(i * 37 % 512) for i in range(160)))
    places = {"MODEL": folder, "IDS": ids, "OUT": tmp_path / "out"}
    arguments = [str(places.get(word, word)) for word in COMMANDS[command]]
    return subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, timeout=300,
                          check=False)


def assert_refused(done, folder, called):
    assert done.returncode == 1, f"exit {done.returncode}: {done.stderr}"
    for words in (str(folder), "not finite numbers", "layer", called, "get it again"):
        assert words in done.stderr, f"'{words}' is not in: {done.stderr}"


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_answers_with_weights_that_are_nan(broken, tmp_path, command):
    folder, called = broken
    done = run_on(command, folder, tmp_path)
    assert_refused(done, folder, called)
    assert done.stdout.strip() == ""
    assert not (tmp_path / "out").exists(), "an output was written"


@pytest.mark.parametrize("damage", DAMAGES)
def test_infinity_is_refused_as_nan_is(tmp_path, damage):
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN, folder)
    names, called = DAMAGES[damage]
    break_tensors(folder, names, INFINITY_BYTES)
    assert_refused(run_on("dump", folder, tmp_path), folder, called)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_undamaged_model_is_accepted(tmp_path, command):
    """Otherwise every refusal above would prove nothing."""
    done = run_on(command, GOLDEN, tmp_path)
    assert done.returncode == 0, done.stderr
