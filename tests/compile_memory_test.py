"""What `npumoe compile` keeps in memory: of one program at most, however many the plan has.

The full measurement, with the rate of writing, is tools/compile_check.py (docs/compiling.md).
"""

import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from compile_check import MEGABYTE, Shape, compile_plan, make_plan, write_model  # noqa: E402

# 151 MB of experts in fp16, in at least as many programs as layers.
SHAPE = Shape(layers=8, experts=32, experts_per_token=4, hidden=512, intermediate=192, heads=4,
              kv_heads=2, head_dim=64, vocab=256)
# What a process needs beside weights: messages, tables, the allocator's reserve. Seen: 8 MB.
EXTRA_BYTES = 20 * MEGABYTE


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "model"
    write_model(folder, SHAPE)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process from /proc")
@pytest.mark.parametrize("weights", ["fp16", "int8"])
def test_compiling_keeps_no_more_than_one_programs_weights(npumoe, model, tmp_path, weights):
    plan = make_plan(npumoe.program, model, tmp_path, weights, tokens=2048)
    compiled = compile_plan(npumoe.program, model, plan, tmp_path / "cache")
    bound = 1.5 * compiled.largest_bytes + EXTRA_BYTES
    assert compiled.package_bytes > bound, "a plan of so few programs shows nothing"
    assert 0 < compiled.peak_bytes < bound
