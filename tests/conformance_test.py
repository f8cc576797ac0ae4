"""`npumoe verify --device D` without a model: every form, format and class of shapes, on the
emulator and on openvino:CPU, and that a device which is wrong fails."""

import json
import os
import re
import subprocess
import time

import pytest

from conftest import ROOT

FORMATS = ["fp16", "int8", "int8-block32", "int4-block32", "lut4", "lut6"]
BLOCKS = {"int8-block32", "int4-block32"}
PROGRAMS = {"experts A", "experts B", "experts C", "attention", "head"}
SECONDS = 20


def verify(npumoe, *options):
    return subprocess.run([npumoe.program, "verify", *map(str, options)], encoding="utf-8",
                          capture_output=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def any_chip(tmp_path_factory):
    """A profile that takes scales of blocks; those of the Neural Engine refuse them."""
    text = (ROOT / "chips" / "m2-max.toml").read_text(encoding="utf-8")
    text, changed = re.subn(r"(refuses_block_scales = \{ value = )true", r"\1false", text)
    assert changed == 1
    path = tmp_path_factory.mktemp("chip") / "any.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def openvino(npumoe):
    """Skips (in CI: fails) where this build or machine has no openvino:CPU."""
    devices = {d["name"]: d for d in json.loads(npumoe("doctor", "--json"))["devices"]}
    if devices.get("openvino:CPU", {}).get("available"):
        return "openvino:CPU"
    reason = devices["openvino"]["note"]
    if os.environ.get("CI") == "true":
        pytest.fail(f"openvino:CPU is missing: {reason}")
    return pytest.skip(f"openvino:CPU is missing: {reason}")


def report_of(done):
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return json.loads(done.stdout)


def check_whole(report):
    assert {p["program"] for p in report["packages"]} == PROGRAMS
    assert {p["format"] for p in report["packages"]} == set(FORMATS)
    for package in report["packages"]:
        if package["outcome"] == "agrees":
            assert 0 < package["error"] <= package["allowed"] < 6e-3, package
            assert package["functions"] == (3 if "buckets" in package["shapes"] else 1)
    assert report["counts"]["failed"] == report["counts"]["not tried"] == 0
    assert report["conforms"]


def test_the_emulator_takes_and_computes_everything(npumoe, any_chip):
    begin = time.monotonic()
    report = report_of(verify(npumoe, "--device", "emulator", "--chip", any_chip, "--json"))
    assert time.monotonic() - begin < SECONDS
    check_whole(report)
    assert report["counts"]["agrees"] == len(report["packages"]) > 200


def has_block_scales(package):
    """Scales along one axis only are those of rows; form B has experts and rows."""
    return package["format"] in BLOCKS or (
        package["format"] == "int8" and package["program"] == "experts B")


def test_a_neural_engine_refuses_scales_of_blocks_and_nothing_else(npumoe):
    report = report_of(verify(npumoe, "--device", "emulator", "--chip", "m2-max", "--json"))
    check_whole(report)
    for package in report["packages"]:
        refused = has_block_scales(package)
        assert package["outcome"] == ("refused" if refused else "agrees"), package
        assert package["rules"] == (["block-scales"] if refused else []), package
        assert not refused or "block-scales" in package["problem"]


def test_openvino_computes_everything(npumoe, openvino):
    """It keeps no chip's rules; the report says which ones the chip has."""
    report = report_of(verify(npumoe, "--device", openvino, "--json"))
    check_whole(report)
    assert report["counts"]["agrees"] == len(report["packages"])
    assert all(p["rules"] == (["block-scales"] if has_block_scales(p) else [])
               for p in report["packages"])


def test_columns_of_the_table_align(npumoe):
    done = verify(npumoe, "--device", "emulator")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("program "))
    rows = lines[header + 2:lines.index("", header)]
    assert len(rows) > 30
    ends = [re.search(rf" {name}(?= |$)", lines[header]).end() for name in FORMATS]
    for row in rows:
        assert len(row) == len(lines[header])
        for end in ends:
            assert row[end - 1] != " " and row[end:end + 2].strip() == "", row
    assert any("block-scales" in row for row in rows)
    assert re.search(r"^\d+ packages: \d+ agree .* 0 failed, 0 not tried$", lines[-1])
    assert "checking" in done.stderr and "checking" not in done.stdout


@pytest.mark.parametrize("script, found", [
    ("wrong(rows=0.03) @ launch=7", "off by"),
    ("nan(rows=0.03) @ launch=last/20", "off by inf"),
    ("overflow @ launch=30", "off by inf"),
    ("refuse-unsupported @ load=5", "the validator accepts it, the device does not"),
    ("lost @ launch=2", "the device has disappeared"),
])
def test_one_fault_makes_it_fail(npumoe, script, found):
    done = verify(npumoe, "--device", "emulator", "--npu-faults", script)
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    assert len(failed) == 1 and found in failed[0], failed
    assert "1 of" in done.stderr


def test_a_launch_that_hangs_ends_it(npumoe):
    begin = time.monotonic()
    done = verify(npumoe, "--device", "emulator", "--npu-faults", "hang @ launch=9",
                  "--launch-timeout-ms", 500, "--json")
    assert time.monotonic() - begin < SECONDS
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["counts"]["failed"] == 1 and report["counts"]["not tried"] > 100
    assert not report["conforms"]


def test_what_runs_elsewhere_is_shown(npumoe):
    options = ("--device", "emulator", "--npu-faults", "cpu-placement @ load=1")
    done = verify(npumoe, *options)
    assert done.returncode == 0, done.stderr
    assert re.search(r" \*( |$)", done.stdout, re.MULTILINE)
    assert re.search(r"^\* .*: 0 of \d+ operations on the device", done.stdout, re.MULTILINE)
    assert "(1 not wholly on the device)" in done.stdout
    assert verify(npumoe, *options, "--require-npu").returncode == 1


def test_a_worker_that_crashes_costs_a_restart(npumoe):
    done = verify(npumoe, "--device", "emulator", "--npu-workers", 1, "--npu-faults",
                  "crash @ launch=4")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert re.search(r"^workers +1 restart, 1 launch or load done again", done.stdout,
                     re.MULTILINE) or "1 restart," in done.stdout


def test_a_device_that_is_missing_says_what_is_missing(npumoe):
    devices = {d["name"]: d for d in json.loads(npumoe("doctor", "--json"))["devices"]}
    if devices["coreml"]["available"]:
        pytest.skip("Core ML is here")
    done = verify(npumoe, "--device", "coreml")
    assert done.returncode == 1
    assert "macOS" in done.stderr


def test_without_a_device_the_usage_is_explained(npumoe):
    done = verify(npumoe)
    assert done.returncode == 2 and "--device D" in done.stderr
