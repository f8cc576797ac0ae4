"""How commands behave where they are misused a little: wrong kinds of files, mistyped options,
outputs that exist, devices and environment variables by name."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import DEMO, ROOT

PROGRAM = Path(os.environ.get("NPUMOE", ROOT / "build" / "release" / "npumoe"))
COMMANDS = ["run", "show", "convert", "tokenize", "calibrate", "plan", "compile", "verify",
            "perplexity", "dump", "doctor", "bench", "version"]


def run(*arguments, **env):
    return subprocess.run([str(PROGRAM), *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, check=False, env={**os.environ, **env})


def refused(*arguments, names, code):
    done = run(*arguments)
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr}"
    for name in names:
        assert str(name) in done.stderr, f"'{name}' is not in: {done.stderr}"
    return done.stderr


@pytest.fixture(scope="module")
def files(npumoe, tmp_path_factory):
    """A calibration, a plan and a package of the demo model."""
    folder = tmp_path_factory.mktemp("files")
    calibration, plan, cache = folder / "a.json", folder / "b.json", folder / "cache"
    npumoe("calibrate", DEMO, "--data", DEMO / "calibration_sample.txt", "--max-tokens", 4096, "-o",
           calibration)
    npumoe("plan", DEMO, "--calibration", calibration, "--min-npu-share", 0.9, "--chunk", 128, "-o",
           plan)
    npumoe("compile", DEMO, "--plan", plan, "--cache", cache)
    return dict(calibration=calibration, plan=plan, cache=cache, model=DEMO, folder=folder,
                package=next(cache.glob("*.mlpackage")))


# ---- files of the wrong kind ---------------------------------------------------------------------

@pytest.mark.parametrize("given,words", [
    ("calibration", ["is a calibration, not a plan", "npumoe plan MODEL --calibration"]),
    ("package", ["is a compiled package, not a plan", "--cache"]),
    ("model", ["is a model, not a plan", "npumoe plan"]),
    ("folder", ["is a folder, not a plan", "npumoe plan"])])
@pytest.mark.parametrize("command", ["run", "compile"])
def test_what_is_given_for_a_plan_is_recognised(files, command, given, words):
    rest = ["x", "-n", 1] if command == "run" else []
    refused(command, DEMO, *rest, "--plan", files[given], names=[files[given], *words], code=1)


@pytest.mark.parametrize("given,words", [
    ("plan", "is a plan, not a calibration"),
    ("package", "is a compiled package, not a calibration"),
    ("model", "is a model, not a calibration")])
@pytest.mark.parametrize("command", [["plan", "--calibration"], ["plan", "--frontier", "--calibration"],
                                     ["calibrate", "-o", "never", "--merge"]], ids=str)
def test_what_is_given_for_a_calibration_is_recognised(files, command, given, words):
    refused(command[0], DEMO, *command[1:], files[given],
            names=[files[given], words, "npumoe calibrate"], code=1)


def test_calibrate_replaces_no_file_unless_asked_to(files, tmp_path):
    out = tmp_path / "c.json"
    out.write_text("mine")
    merge = ("calibrate", DEMO, "--merge", files["calibration"], "-o", out)
    refused(*merge, names=[out, "--force"], code=2)
    assert out.read_text() == "mine"
    assert run(*merge, "--force").returncode == 0
    assert json.loads(out.read_text())["format"] == "npumoe-calibration"


# ---- mistyped words ------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments,meant", [
    (["run", DEMO, "x", "--tepm", "0"], "did you mean --temp?"),
    (["plan", DEMO, "--min-npu-shar=0.9"], "did you mean --min-npu-share?"),
    (["perplexity", DEMO, "--kl-agianst", "cpu"], "did you mean --kl-against?"),
    (["calibrat", DEMO], "did you mean calibrate?")], ids=str)
def test_a_mistyped_word_is_answered_with_the_one_that_was_meant(arguments, meant):
    refused(*arguments, names=[meant], code=2)


@pytest.mark.parametrize("arguments", [["run", DEMO, "x", "--what"], ["run", DEMO, "x", "y"],
                                       ["plan", DEMO, "--chunk", "33"], ["dump", DEMO]], ids=str)
def test_wrong_usage_names_the_commands_help(arguments):
    refused(*arguments, names=[f"npumoe {arguments[0]} --help"], code=2)


# ---- devices -------------------------------------------------------------------------------------

DEVICES = ["cpu", "emulator", "coreml", "openvino"]


def test_devices_are_listed_by_the_program_and_by_doctor():
    for listing in (run("--list-devices"), run("doctor")):
        assert listing.returncode == 0
        for device in DEVICES:
            assert re.search(rf"^{device}\s+(yes|no)\s", listing.stdout, re.MULTILINE), device
    names = [device["name"] for device in json.loads(run("doctor", "--json").stdout)["devices"]]
    assert set(DEVICES) <= set(names)
    assert "npumoe --list-devices" in re.sub(r"\s+", " ", run("run", "--help").stdout)


@pytest.mark.parametrize("arguments", [["run", DEMO, "x", "--device", "tpu"],
                                       ["perplexity", DEMO, "-f", "x", "--kl-against", "tpu"]],
                         ids=str)
def test_an_unknown_device_lists_all_of_them(arguments):
    refused(*arguments, names=["tpu", *DEVICES, "--list-devices"], code=2)


# ---- perplexity ----------------------------------------------------------------------------------

TEXT = DEMO / "held_out_text.txt"


def test_perplexity_of_one_window_of_a_longer_text():
    done = run("perplexity", DEMO, "-f", TEXT, "-c", 128, "--chunks", 1, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["windows"], report["scored_tokens"]) == (1, 63)


def test_a_text_shorter_than_two_windows_is_refused_with_its_true_length(tmp_path):
    ids = tmp_path / "ids"
    ids.write_text("5 " * 100)
    for chunks in (0, 1):
        refused("perplexity", DEMO, "--ids-file", ids, "-c", 64, "--chunks", chunks,
                names=["the text has 100 tokens", "128"], code=1)


def compare(files, *options):
    done = run("perplexity", DEMO, "-f", TEXT, "-c", 128, "--chunks", 2, "--plan", files["plan"],
               "--cache", files["cache"], "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_any_two_devices_can_be_compared(files):
    forth = compare(files, "--kl-against", "cpu")
    assert (forth["device"], forth["against"]) == ("emulator", "cpu")
    back = compare(files, "--device", "cpu", "--kl-against", "emulator")
    assert (back["device"], back["against"]) == ("cpu", "emulator")
    assert back["candidate_perplexity"] == forth["reference_perplexity"]
    assert back["reference_perplexity"] == forth["candidate_perplexity"]
    assert back["reference_perplexity"] != back["candidate_perplexity"], "the CPU was both"
    assert "executed" in forth and "executed" not in back, "a CPU dispatches nothing"
    same = compare(files, "--kl-against", "emulator")
    assert same["mean_kl"] == 0 and same["executed"] == same["recounted"]


@pytest.mark.parametrize("options,names", [
    (["--kl-against", "cpu"], ["--plan"]),
    (["--plan", "p", "--device", "cpu", "--kl-against", "cpu"], ["with itself"]),
    (["--plan", "p", "--device", "cpu", "--kl-against", "emulator", "--calibration", "c"],
     ["--calibration"])], ids=str)
def test_comparisons_without_sense_are_refused(options, names):
    refused("perplexity", DEMO, "-f", TEXT, *options, names=names, code=2)


# ---- environment variables -----------------------------------------------------------------------

def options_of(command):
    """long option -> its environment variable or None, from the help."""
    found = {}
    for line in run(command, "--help").stdout.splitlines():
        if option := re.match(r"\s+(?:-\w,)?--([a-z0-9-]+)", line):
            variable = re.search(r"\(Env:(\w+)\)", line)
            found[option.group(1)] = variable and variable.group(1)
    return found


def without_variables():
    """What README.md says has none."""
    text = re.sub(r"\s+", " ", (ROOT / "README.md").read_text())
    listed = re.search(r"Only on the command line: (.*?)\.", text).group(1)
    return set(re.findall(r"--([a-z-]+)", listed))


def test_every_setting_has_its_environment_variable_and_the_others_are_in_the_readme():
    without = set()
    for command in COMMANDS:
        for option, variable in options_of(command).items():
            if variable is None:
                without.add(option)
            else:
                assert variable == "NPUMOE_" + option.upper().replace("-", "_")
    assert without - {"help"} == without_variables()


def test_a_variable_sets_what_its_option_would_and_the_option_wins():
    short = run("perplexity", DEMO, "-f", TEXT, "--json", NPUMOE_CTX_SIZE="64", NPUMOE_CHUNKS="3")
    assert json.loads(short.stdout)["scored_tokens"] == 3 * 31
    won = run("perplexity", DEMO, "-f", TEXT, "--json", "-c", 128, NPUMOE_CTX_SIZE="64",
              NPUMOE_CHUNKS="3")
    assert json.loads(won.stdout)["scored_tokens"] == 3 * 63
    perf = run("run", DEMO, "x", "-n", 1, NPUMOE_PERF="1")
    assert "prefill" in perf.stderr


def test_a_bad_variable_is_named():
    done = run("run", DEMO, "x", NPUMOE_TEMP="warm")
    assert done.returncode == 2 and "warm" in done.stderr, done.stderr
