"""`npumoe profile`: figures of the emulator are those of the profile that it models, and a profile
taken from openvino:CPU can be planned with."""

import json
import os
import re
import subprocess

import pytest

from conftest import DEMO, ROOT

EXPERT = ("--hidden", 512, "--intermediate", 256)


def figures_of(report):
    return {figure["key"]: figure for figure in report["figures"]}


def value_in(profile, key):
    """The first figure of a key in a chip profile, as it stands there."""
    return float(re.search(rf"^{key} = .*?value = ([0-9.e+-]+)", profile, re.M)[1])


@pytest.fixture(scope="module")
def emulator(npumoe, tmp_path_factory):
    """Report and file of a profile taken from the emulator that models M2 Max. Two experts of 3.1 MB
    in fp16, so that their weights show beside the launch."""
    path = tmp_path_factory.mktemp("profile") / "emulated.toml"
    report = json.loads(npumoe("profile", "--device", "emulator", "--chip", "m2-max", *EXPERT,
                               "--experts", 8, "--max-rows", 256, "--keep-cpu", "-o", path, "--json"))
    return report, path


def test_the_figures_of_the_emulator_are_those_of_its_profile(emulator):
    report, _ = emulator
    chip = (ROOT / "chips/m2-max.toml").read_text()
    figures = figures_of(report)
    measured = {key: float(figure["value"]) for key, figure in figures.items()
                if figure["provenance"] != "declared" and figure["value"] not in ("true", "false")}
    # A launch and its hand-over are one time to a caller.
    assert measured["npu.launch_ms"] + measured["npu.sync_ms"] == pytest.approx(
        value_in(chip, "launch_ms") + value_in(chip, "sync_ms"), rel=1e-3)
    assert measured["npu.stream_gb_per_s"] == pytest.approx(value_in(chip, "stream_gb_per_s"), rel=1e-3)
    assert measured["npu.io_gb_per_s"] == pytest.approx(value_in(chip, "io_gb_per_s"), rel=1e-3)
    rates = [float(f["value"]) for f in report["figures"] if f["key"].startswith("npu.tflops")]
    assert rates[-1] == pytest.approx(4.5, rel=1e-3)  # of 32 rows and more
    assert figures["npu.cost_follows_rows"]["value"] == "false"
    assert report["npu_fit_error"]["worst"] < 1e-3


def test_times_that_the_device_models_are_not_called_measured(emulator):
    report, path = emulator
    assert report["npu_times"] == "modelled"
    assert {f["provenance"] for f in report["figures"] if f["key"].startswith("npu.t")} == {"assumed"}
    assert "modelled by the device itself" in path.read_text()


def plan_with(npumoe, profile, folder):
    calibration, plan = folder / "demo.calib.json", folder / "demo.plan.json"
    npumoe("calibrate", DEMO, "--data", DEMO / "calibration_sample.txt", "--max-tokens", 4096, "-o",
           calibration)
    npumoe("plan", DEMO, "--calibration", calibration, "--chip", profile, "--min-npu-share", 0.5,
           "--chunk", 256, "-o", plan)
    return plan


def test_a_plan_finds_its_profile_beside_it_and_bench_compares_them(npumoe, emulator, tmp_path):
    _, path = emulator
    profile = tmp_path / "mine.toml"
    profile.write_bytes(path.read_bytes())
    plan = plan_with(npumoe, profile, tmp_path)
    report = json.loads(npumoe("bench", DEMO, "--plan", plan, "--cache", tmp_path / "cache", "-p", 512,
                               "-r", 2, "--json"))
    assert report["profile"] == "mine"
    assert report["dropped_rows"] == 0 and report["filled_rows"] > 0
    launches = report["stages"]["launches"]
    # The emulator's own times, which the profile was fitted to: but for rows between its points.
    assert launches["predicted_ms"] == pytest.approx(launches["time_ms"], rel=0.05)
    assert report["prefill"]["time_ms"] > 0 and report["prefill"]["predicted_ms"] > 0


def test_a_quick_profile_of_openvino_can_be_planned_with(npumoe, tmp_path):
    devices = {d["name"]: d for d in json.loads(npumoe("doctor", "--json"))["devices"]}
    if not devices.get("openvino:CPU", {}).get("available"):
        assert os.environ.get("CI") != "true", "openvino:CPU is missing"
        pytest.skip("openvino:CPU is missing")
    profile = tmp_path / "here.toml"
    report = json.loads(npumoe("profile", "--device", "openvino:CPU", *EXPERT, "--quick", "--memory",
                               64, "-o", profile, "--json"))
    assert report["npu_times"] == "measured"
    figures = figures_of(report)
    assert figures["cpu.gflops[0]"]["provenance"] == "measured"
    assert figures["npu.stream_gb_per_s"]["provenance"] == "measured"
    assert all(float(shape["time_ms"]) > 0 for shape in report["npu_shapes"] + report["cpu_shapes"])
    plan = json.loads(plan_with(npumoe, profile, tmp_path).read_text())
    assert plan["profile_name"] == "here"
    assert plan["predicted"]["npu_share"] >= 0.5


@pytest.mark.parametrize("arguments, words", [
    (("--device", "nonsense"), "there is no such device"),
    (("--device", "cpu"), "name the device"),
    (("--device", "emulator", "--chip", "nonsense"), "chip profile 'nonsense'"),
])
def test_mistakes_are_named(npumoe, arguments, words):
    done = subprocess.run([npumoe.program, "profile", *arguments], capture_output=True, text=True)
    assert done.returncode != 0
    assert words in done.stderr
