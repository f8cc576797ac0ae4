"""Programs in every weight format and in several buckets, on the demo model through the emulated
NPU: what a format rounds stays within its rounding, and buckets change the padding, not the answer.
"""

import json
import subprocess

import pytest

from conftest import DEMO

WINDOW = 1120  # four chunks of 256 and a partial one

# Mean KL that a format may cost on this model; seen: 1e-5, 1e-4, 7e-4, 5e-3. The bounds say which
# format is which: each is below what the next one costs.
FORMATS = {"fp16": 1e-4, "int8": 5e-4, "lut6": 3e-3, "lut4": 2e-2}


@pytest.fixture(scope="module")
def calibration(npumoe, tmp_path_factory):
    path = tmp_path_factory.mktemp("calibration") / "demo.calib.json"
    npumoe("calibrate", DEMO, "--data", DEMO / "calibration_sample.txt", "--max-tokens", 8192,
           "-o", path)
    return path


def report_of(npumoe, calibration, folder, *options):
    plan = folder / "plan.json"
    npumoe("plan", DEMO, "--calibration", calibration, "--min-npu-share", 0.9, "--chunk", 256,
           "--prompt-tokens", WINDOW, *options, "-o", plan)
    text = npumoe("perplexity", DEMO, "-f", DEMO / "held_out_text.txt", "-c", WINDOW, "--chunks", 2,
                  "--plan", plan, "--kl-against", "cpu", "--calibration", calibration, "--cache",
                  folder / "cache", "--require-npu", "--json")
    return json.loads(plan.read_text()), json.loads(text)


@pytest.mark.parametrize("weights", FORMATS)
def test_a_weight_format_costs_no_more_than_its_rounding(npumoe, calibration, tmp_path, weights):
    plan, report = report_of(npumoe, calibration, tmp_path, "--npu-weights", weights)
    assert plan["weight_format"] == weights
    assert report["executed"]["dropped_rows"] == 0
    assert report["executed"] == report["recounted"]
    assert report["mean_kl"] < FORMATS[weights]


# The same of attention and head beside experts in fp16; seen: 7e-5, 3e-4, 3e-3, 3e-2.
DENSE_FORMATS = {"fp16": 2e-4, "int8": 1e-3, "lut6": 1e-2, "lut4": 1e-1}


@pytest.mark.parametrize("weights", DENSE_FORMATS)
def test_attention_and_head_have_a_format_of_their_own(npumoe, calibration, tmp_path, weights):
    plan, report = report_of(npumoe, calibration, tmp_path, "--npu-dense-weights", weights,
                             "--npu-attention", "on", "--npu-head", "on")
    assert plan["weight_format"] == "fp16" and plan["dense_weight_format"] == weights
    assert report["executed"]["dropped_rows"] == 0
    assert report["executed"] == report["recounted"]
    assert report["mean_kl"] < DENSE_FORMATS[weights]
    made = json.loads(npumoe(
        "run", DEMO, "-f", DEMO / "needle_question.txt", "-n", 8, "--temp", 0, "--json", "--plan",
        tmp_path / "plan.json", "--cache", tmp_path / "cache", "--require-npu"))
    assert made["dispatch"]["dropped_rows"] == 0
    if weights != "lut4":
        assert made["text"].strip().startswith("4821907")


def test_compile_says_what_rounding_costs(npumoe, calibration, tmp_path):
    plan = tmp_path / "plan.json"
    npumoe("plan", DEMO, "--calibration", calibration, "--min-npu-share", 0.9, "--chunk", 256,
           "--npu-weights", "int8", "-o", plan)
    compiled = ("compile", DEMO, "--plan", plan, "--cache")
    assert "weights rounded to int8: the worst matrix is off by" in npumoe(*compiled, tmp_path / "a")
    report = json.loads(npumoe(*compiled, tmp_path / "b", "--json"))
    assert 1e-3 < report["largest_weight_error"] < 2e-2


def test_verify_holds_rounded_attention_to_the_limit_of_its_format(npumoe, calibration, tmp_path):
    plan = tmp_path / "plan.json"
    npumoe("plan", DEMO, "--calibration", calibration, "--min-npu-share", 0.9, "--chunk", 256,
           "--npu-dense-weights", "int8", "--npu-attention", "on", "--npu-head", "on", "-o", plan)
    compiled = npumoe("compile", DEMO, "--plan", plan, "--cache", tmp_path / "cache")
    assert "weights rounded to int8 (attention and head): the worst matrix" in compiled
    verify = ("verify", DEMO, "--plan", plan, "--cache", tmp_path / "cache", "--data",
              DEMO / "held_out_text.txt", "--tokens", 1024)
    report = json.loads(npumoe(*verify, "--json"))
    dense = [v for v in report["numeric"] if v["kind"] != "experts"]
    assert len(dense) == 5 and all(v["passed"] and v["rows"] > 0 for v in dense)
    assert all(1e-3 < v["error"] < 7.5e-2 for v in dense)
    assert ", attention within 7.5e-02, head within 7.5e-02" in npumoe(*verify)


@pytest.mark.parametrize("strategy", ["optimal", "tiers+groups"])
def test_buckets_lessen_the_padding_and_change_nothing_else(npumoe, calibration, tmp_path,
                                                            strategy):
    reports = {}
    for buckets in (1, 3):
        folder = tmp_path / str(buckets)
        folder.mkdir()
        plan, reports[buckets] = report_of(npumoe, calibration, folder, "--strategy", strategy,
                                           "--buckets", buckets)
        programs = [program for layer in plan["layers"] for program in layer["programs"]]
        assert any("smaller_buckets" in p for p in programs) == (buckets > 1)
    one, three = reports[1]["executed"], reports[3]["executed"]
    assert three["padding_rows"] < one["padding_rows"]
    assert {k: v for k, v in three.items() if k not in ("padding_rows", "capacity_rows")} == {
        k: v for k, v in one.items() if k not in ("padding_rows", "capacity_rows")}
    assert three == reports[3]["recounted"]
    assert reports[3]["mean_kl"] == reports[1]["mean_kl"], "the rows are computed alike"


def test_block_scales_are_refused_for_a_neural_engine(npumoe, calibration, tmp_path):
    plan = tmp_path / "plan.json"
    npumoe("plan", DEMO, "--calibration", calibration, "--min-npu-share", 0.9, "--npu-weights",
           "int4-block32", "-o", plan)
    compiled = subprocess.run([npumoe.program, "compile", DEMO, "--plan", plan, "--cache",
                               tmp_path / "cache"], capture_output=True, text=True)
    assert compiled.returncode != 0
    assert "block-scales" in compiled.stderr and "format int8" in compiled.stderr
