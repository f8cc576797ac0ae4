"""Every fault of the emulated NPU, at loads and at launches: the text is the undisturbed one, the
report names the fault, and --require-npu makes it an error.
"""

import json
import subprocess

import pytest

from conftest import DEMO

LAUNCHES = 12  # of the question's prefill under the plan below; checked
WHEN = {"first": "launch=first", "middle": f"launch=middle/{LAUNCHES}",
        "last": f"launch=last/{LAUNCHES}"}
# fault: what the report calls it
LOAD_FAULTS = {"refuse-too-large": "load", "refuse-too-many": "load", "refuse-unsupported": "load",
               "lost": "load"}
LAUNCH_FAULTS = {"nan": "numeric", "overflow": "numeric", "hang": "deadline", "lost": "launch",
                 "refuse-unsupported": "launch"}


@pytest.fixture(scope="module")
def question(npumoe, tmp_path_factory):
    """question(*options): the finished process of a prefill and an answer of eight tokens."""
    folder = tmp_path_factory.mktemp("fallback")
    calibration, plan = folder / "calibration.json", folder / "plan.json"
    npumoe("calibrate", DEMO, "--data", DEMO / "calibration_sample.txt", "--max-tokens", 8192,
           "-o", calibration)
    npumoe("plan", DEMO, "--calibration", calibration, "--min-npu-share", 0.9, "--chunk", 256,
           "-o", plan)

    def run(*options):
        return subprocess.run(
            [npumoe.program, "run", DEMO, "-f", DEMO / "needle_question.txt", "-n", "8", "--temp",
             "0", "--json", "--plan", plan, "--cache", folder / "cache", "--launch-timeout-ms",
             "500", *options], capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="module")
def undisturbed(question):
    report = json.loads(question("--require-npu").stdout)
    assert report["dispatch"]["launches"] == LAUNCHES
    return report["text"]


def degradations(report):
    return [d for p in report["placement"]["programs"] for d in p["degradations"]]


def check(question, undisturbed, script, name):
    done = question("--npu-faults", script)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["text"] == undisturbed
    assert any(d["what"].endswith(name) for d in degradations(report))
    assert report["dispatch"]["dropped_rows"] == 0
    assert "degradation" in done.stderr
    assert question("--npu-faults", script, "--require-npu").returncode != 0


@pytest.mark.parametrize("fault", LOAD_FAULTS)
def test_a_load_that_fails_leaves_its_experts_to_the_cpu(question, undisturbed, fault):
    check(question, undisturbed, f"{fault} @ load=2", LOAD_FAULTS[fault])


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("fault", LAUNCH_FAULTS)
def test_a_launch_that_fails_is_computed_again(question, undisturbed, fault, when):
    check(question, undisturbed, f"{fault} @ {WHEN[when]}", LAUNCH_FAULTS[fault])


@pytest.mark.parametrize("when", WHEN)
def test_wrong_numbers_are_noticed(question, undisturbed, when):
    """By the check of a program's first launch or of a later one: the order of launches of two
    chunks depends on how long CPU work takes."""
    check(question, undisturbed, f"wrong @ {WHEN[when]}", "check")


def test_a_program_that_is_wrong_from_the_start_is_not_used(question, undisturbed):
    report = json.loads(question("--npu-faults", "wrong @ load=2").stdout)
    assert report["text"] == undisturbed
    wrong = report["placement"]["programs"][1]
    assert not wrong["in_service"] and wrong["launches"] == 0
    assert "first launch" in wrong["refusal"]


def test_without_verification_wrong_numbers_pass_and_the_report_says_that_nobody_looked(
        question, undisturbed):
    report = json.loads(
        question("--npu-faults", "wrong @ launch=any", "--no-npu-verification").stdout)
    assert report["text"] != undisturbed
    assert degradations(report) == []
    assert "not verified" in report["placement"]["device"]


def test_a_fault_that_delays_only_changes_nothing(question, undisturbed):
    for script in ("cpu-placement @ load=any", "slow-compile @ load=1"):
        report = json.loads(question("--npu-faults", script, "--require-npu").stdout)
        assert report["text"] == undisturbed
