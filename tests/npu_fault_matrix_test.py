"""Every fault of the emulated NPU x {a load, the first, a middle, the last launch} x {in this
process, in worker processes}: the text is the undisturbed one, the report names what happened, and
--require-npu is an error exactly where planned work ran elsewhere.

What cannot be, and why:
- a crash in this process ends it: there is nobody left to answer. Workers are there for that.
- slow-compile harms nothing: no limit is passed, the program runs as planned. The report has the
  time. (A compile that passes --load-timeout-ms is the fault `hang` at a load.)
- cpu-placement of a launch cannot be noticed: a device says where a program runs when it is loaded;
  afterwards only its time tells.
- in a worker, a hang of a launch, a crash and a lost device cost a restart and a repetition:
  nothing is degraded.
"""

import json
import signal
import subprocess
import time

import pytest

from conftest import DEMO

LAUNCHES = 12  # of the question's prefill under the plan below; checked
MOMENTS = {"load": "load=2", "first": "launch=first", "middle": f"launch=middle/{LAUNCHES}",
           "last": f"launch=last/{LAUNCHES}"}
PLACES = {"process": 0, "workers": 2}
HANG_MS = 2000
NO_RETRY = "1e12"  # the pause of a program that failed; the last test has none
LIMIT_S = 60  # of one run, on a machine that does other things, too

# What becomes of a fault: the name of a degradation, or one of these.
RESTARTED, ENDS, SLOW_LOAD, SLOW_LAUNCH = "restarted", "ends", "slow load", "slow launch"
# fault: (at a load in process, in workers, at a launch in process, in workers)
OUTCOMES = {
    "refuse-too-large": ("load", "load", "launch", "launch"),
    "refuse-too-many": ("load", "load", "launch", "launch"),
    "refuse-unsupported": ("load", "load", "launch", "launch"),
    "slow-compile(modelled-s=600)": (SLOW_LOAD, SLOW_LOAD, SLOW_LAUNCH, SLOW_LAUNCH),
    "cpu-placement(factor=1000)": ("placement", "placement", SLOW_LAUNCH, SLOW_LAUNCH),
    "wrong": ("check", "check", "check", "check"),
    "nan": ("numeric", "numeric", "numeric", "numeric"),
    "overflow": ("numeric", "numeric", "numeric", "numeric"),
    "hang": ("load", "load", "deadline", RESTARTED),
    "crash": (ENDS, RESTARTED, ENDS, RESTARTED),
    "lost": ("load", RESTARTED, "launch", RESTARTED),
}


def outcome_of(fault, moment, place):
    return OUTCOMES[fault][2 * (moment != "load") + (place != "process")]


@pytest.fixture(scope="module")
def options(npumoe, tmp_path_factory):
    """Options of a plan of the demo model and its packages."""
    folder = tmp_path_factory.mktemp("faults")
    calibration, plan = folder / "calibration.json", folder / "plan.json"
    npumoe("calibrate", DEMO, "--data", DEMO / "calibration_sample.txt", "--max-tokens", 8192,
           "-o", calibration)
    npumoe("plan", DEMO, "--calibration", calibration, "--min-npu-share", 0.9, "--chunk", 256,
           "-o", plan)
    return ["--plan", str(plan), "--cache", str(folder / "cache")]


@pytest.fixture(scope="module")
def question(npumoe, options):
    """question(*options): the finished process of a prefill and an answer of eight tokens."""
    def run(*more):
        return subprocess.run(
            [npumoe.program, "run", str(DEMO), "-f", str(DEMO / "needle_question.txt"), "-n", "8",
             "--temp", "0", "--npu-retry-pause-ms", NO_RETRY, *options, *map(str, more)],
            encoding="utf-8", capture_output=True, timeout=LIMIT_S, check=False)

    return run


@pytest.fixture(scope="module")
def undisturbed(question):
    done = question("--json", "--require-npu")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["dispatch"]["launches"] == LAUNCHES
    assert report["placement"]["degradations"] == 0
    return report


def degradations(report):
    return [d for p in report["placement"]["programs"] for d in p["degradations"]]


def check_slow(report, undisturbed, moment):
    if moment == "load":
        assert report["placement"]["programs"][1]["load_ms"] >= 600e3
        assert report["placement"]["programs"][1]["load_is_modelled"]
    else:
        assert report["placement"]["npu_time_ms"] > 2 * undisturbed["placement"]["npu_time_ms"]


def check_restarted(report, done):
    health = report["placement"]["health"]
    assert health["restarts"] == 1 and health["replays"] > 0
    assert sum(event["count"] for event in health["events"]) == 1
    assert "it is started again" in done.stderr


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("fault", OUTCOMES)
def test_no_fault_changes_the_text(question, undisturbed, fault, moment, place):
    outcome = outcome_of(fault, moment, place)
    limits = ("--launch-timeout-ms", HANG_MS, "--load-timeout-ms", HANG_MS)
    begin = time.monotonic()
    done = question("--json", "--require-npu", "--npu-workers", PLACES[place], "--npu-faults",
                    f"{fault} @ {MOMENTS[moment]}", *(limits if fault == "hang" else ()))
    assert time.monotonic() - begin < LIMIT_S
    if outcome == ENDS:
        assert done.returncode == -signal.SIGABRT and done.stdout == ""
        return
    report = json.loads(done.stdout)
    assert report["text"] == undisturbed["text"]
    assert report["dispatch"]["dropped_rows"] == 0
    if outcome in (SLOW_LOAD, SLOW_LAUNCH):
        check_slow(report, undisturbed, moment)
    if outcome == RESTARTED:
        check_restarted(report, done)
    if outcome in (SLOW_LOAD, SLOW_LAUNCH, RESTARTED):
        assert degradations(report) == []
        assert done.returncode == 0, done.stderr
    else:
        assert any(d["what"].endswith(outcome) for d in degradations(report)), degradations(report)
        assert done.returncode == 1 and "--require-npu" in done.stderr


def test_a_tenth_of_wrong_rows_is_caught_alike_in_both_places(question):
    """How often: runtime/npu_faults_test.cc. Here: the same rows are drawn and found, and what is
    found wrong is not used again."""
    caught = {}
    for place, workers in PLACES.items():
        report = json.loads(question(
            "--json", "--npu-workers", workers, "--chunks-in-flight", 1, "--npu-faults",
            "wrong(rows=0.1) @ launch=any").stdout)
        programs = report["placement"]["programs"]
        caught[place] = [len(p["degradations"]) for p in programs]
        for program in programs:
            assert program["in_service"] == (program["degradations"] == [])
            assert all(d["what"].endswith("check") and d["count"] == 1
                       for d in program["degradations"])
        assert report["placement"]["checks"]["rows"] > 0
    assert caught["process"] == caught["workers"]
    assert 0 < sum(caught["process"]) < len(caught["process"])


@pytest.mark.parametrize("script, what, place", [
    ("refuse-too-many @ load=2", "load", "process"),
    ("refuse-too-many @ load=2", "load", "workers"),
    ("wrong @ launch=first", "first check", "process"),
    ("lost @ launch=first", "launch", "process"),
    ("nan @ launch=first", "numeric", "process"),
])
def test_what_failed_is_tried_again_after_a_pause(question, undisturbed, script, what, place):
    done = question("--json", "--chunks-in-flight", 1, "--npu-workers", PLACES[place],
                    "--npu-retry-pause-ms", 0, "--npu-faults", script)
    report = json.loads(done.stdout)
    assert report["text"] == undisturbed["text"]
    programs = report["placement"]["programs"]
    assert all(p["in_service"] for p in programs)
    assert {d["what"] for d in degradations(report)} == {what}
    failed = [p for p in programs if p["degradations"]]
    assert sum(p["launches"] for p in failed) > 0
    if what != "numeric":  # once is no reason to leave service
        assert all(p["came_back"] for p in failed)


def test_a_program_that_is_wrong_from_the_start_is_not_used(question, undisturbed):
    report = json.loads(question("--json", "--npu-faults", "wrong @ load=2").stdout)
    assert report["text"] == undisturbed["text"]
    wrong = report["placement"]["programs"][1]
    assert not wrong["in_service"] and wrong["launches"] == 0
    assert "first launch" in wrong["refusal"]


def test_without_verification_wrong_numbers_pass_and_the_report_says_that_nobody_looked(
        question, undisturbed):
    report = json.loads(question("--json", "--npu-faults", "wrong @ launch=any",
                                 "--no-npu-verification").stdout)
    assert report["text"] != undisturbed["text"]
    assert degradations(report) == []
    assert "not verified" in report["placement"]["device"]
    assert report["placement"]["checks"]["rows"] == 0


@pytest.mark.parametrize("script, more, line", [
    ("cpu-placement @ load=2", (), "placed   elsewhere, layer 1, program 0: 0 of "),
    ("slow-compile(modelled-s=600) @ load=2", (), "loaded   slowly, layer 1, program 0: "),
    ("refuse-too-many @ load=2", (), "degraded load of layer 1, program 0: "),
    ("refuse-too-many @ load=2", ("--npu-retry-pause-ms", 0),
     "returned layer 1, program 0 after a pause, in service since"),
    ("crash @ launch=3", ("--npu-workers", 1), "workers  1 restart, "),
])
def test_people_are_told_too(npumoe, question, options, script, more, line):
    """By `run` and by `verify`."""
    faults = ("--npu-faults", script, *more)
    done = question("--perf", *faults)
    assert any(said.startswith(line) for said in done.stderr.splitlines()), done.stderr
    done = subprocess.run(
        [npumoe.program, "verify", str(DEMO), "-f", str(DEMO / "needle_question.txt"), *options,
         *map(str, faults)], encoding="utf-8", capture_output=True, timeout=LIMIT_S, check=False)
    assert any(said.startswith(line) for said in done.stdout.splitlines()), done.stdout
