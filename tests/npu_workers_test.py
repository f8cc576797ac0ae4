"""Programs in worker processes: whatever happens to one, the text is the undisturbed one.

Workers are killed a hundred times during one prefill, and engines end in every way. Every fault at
every moment: npu_fault_matrix_test.py.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import DEMO

QUESTION = DEMO / "needle_question.txt"
ANSWER = " 4821907"
LONG_TEXT_BYTES = 13000  # 3,787 tokens of the 4,096 that the model takes
PLENTY_S = 300

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def command(npumoe, tmp_path_factory):
    """command(prompt, *options): the words of a run over chunks of 64 tokens."""
    folder = tmp_path_factory.mktemp("workers")
    calibration, plan, cache = folder / "c.json", folder / "p.json", folder / "cache"
    npumoe("calibrate", DEMO, "--data", DEMO / "calibration_sample.txt", "--max-tokens", 8192, "-o",
           calibration)
    npumoe("plan", DEMO, "--calibration", calibration, "--min-npu-share", 0.9, "--chunk", 64, "-o",
           plan)

    def words(prompt, *options):
        return [str(word) for word in (
            npumoe.program, "run", DEMO, "-f", prompt, "-c", 4096, "-n", 8, "--temp", 0, "--plan",
            plan, "--cache", cache, "--json", *options)]

    subprocess.run(words(QUESTION), check=True, capture_output=True, timeout=PLENTY_S)  # compiles
    return words


@pytest.fixture(scope="module")
def ask(command):
    """ask(*options): the finished process of the needle question on two workers."""
    def run(*options):
        return subprocess.run(command(QUESTION, "--npu-workers", 2, *options), encoding="utf-8",
                              capture_output=True, timeout=PLENTY_S, check=False)
    return run


def report_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_answer_is_the_undisturbed_one(ask):
    report = report_of(ask("--require-npu"))
    assert report["text"] == ANSWER
    assert "in 2 worker processes" in report["placement"]["device"]
    assert report["dispatch"]["launches"] >= 12


def test_a_program_that_always_crashes_is_left_to_the_cpu(ask):
    report = report_of(done := ask("--npu-faults", "crash @ launch=any"))
    assert report["text"] == ANSWER
    assert report["dispatch"]["launches"] == 0
    assert "ended its worker 3 times in a row" in done.stdout


def test_a_script_with_a_mistake_is_refused(ask):
    done = ask("--npu-faults", "crash @ lunch=1")
    assert done.returncode != 0
    assert "'lunch' is not a condition" in done.stderr


def children(pid):
    """Living children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue  # it has ended meanwhile
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def kill_workers(process, times):
    """Kills one of two workers after the other, some while they start, some in a launch."""
    rng = random.Random(4)
    kills = 0
    while process.poll() is None and kills < times:
        workers = children(process.pid)
        if len(workers) < 2:
            continue
        time.sleep(rng.uniform(0, 0.02))
        victim = rng.choice(workers)
        try:
            os.kill(victim, signal.SIGKILL)
            kills += 1
        except ProcessLookupError:
            continue
        while victim in children(process.pid) and process.poll() is None:
            pass
    return kills


# Every launch takes ten milliseconds, so that a prefill lasts for seconds on any machine.
LONG_LAUNCHES = ("--npu-faults", "slow-compile(modelled-s=0, sleep-ms=10) @ launch=any")


@needs_proc
def test_a_hundred_kills_lose_nothing(command, tmp_path):
    """During one prefill, as a rule; a second one where the machine is slow to kill."""
    prompt = tmp_path / "long.txt"
    prompt.write_bytes((DEMO / "held_out_text.txt").read_bytes()[:LONG_TEXT_BYTES])
    undisturbed = json.loads(subprocess.run(command(prompt), check=True, capture_output=True,
                                            timeout=PLENTY_S).stdout)
    words = command(prompt, "--npu-workers", 2, "--require-npu", *LONG_LAUNCHES)
    kills = 0
    while kills < 100:
        with open(tmp_path / "out.json", "wb") as out, open(tmp_path / "err.txt", "wb") as err:
            with subprocess.Popen(words, stdout=out, stderr=err) as process:
                killed = kill_workers(process, 100 - kills)
                assert process.wait(PLENTY_S) == 0, (tmp_path / "err.txt").read_text()
        assert killed > 0
        kills += killed
        report = json.loads((tmp_path / "out.json").read_text())
        assert report["text"] == undisturbed["text"]
        assert report["dispatch"] == undisturbed["dispatch"]


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def stuck(command):
    """An engine of two workers that sits in a launch which hangs, and the workers."""
    words = command(QUESTION, "--npu-workers", 2, "--npu-faults", "hang @ launch=any",
                    "--launch-timeout-ms", 60000)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          start_new_session=True) as process:
        wait_until(lambda: len(children(process.pid)) == 2 or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1].decode()
        yield process, children(process.pid)
        process.kill()
        process.communicate(timeout=PLENTY_S)


@needs_proc
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_engine(stuck, how):
    process, workers = stuck
    process.send_signal(how)
    process.communicate(timeout=PLENTY_S)
    assert process.returncode != 0
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


@needs_proc
def test_control_c_on_the_terminal_does_not_reach_the_workers(stuck):
    process, workers = stuck
    for worker in workers:
        assert os.getpgid(worker) != os.getpgid(process.pid)


def test_a_worker_started_by_hand_says_what_it_is_for(npumoe):
    done = subprocess.run([npumoe.program, "npu-worker"], encoding="utf-8", capture_output=True,
                          timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "--npu-workers" in done.stderr
    assert "npu-worker" not in npumoe("--help")
