"""`npumoe doctor` and its report: what is there, what is missing, and nothing private."""

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT

PROGRAM = Path(os.environ.get("NPUMOE", ROOT / "build" / "release" / "npumoe"))
VARIABLES = {"NPUMOE_CHIPS": str(ROOT / "chips")}


def doctor(*arguments, env=None, code=0):
    done = subprocess.run([str(PROGRAM), "doctor", *map(str, arguments)], capture_output=True,
                          encoding="utf-8", timeout=600, check=False,
                          env={**os.environ, **VARIABLES, **(env or {})})
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr}"
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home folder with a cache: two packages and a compiled model of a device."""
    folder = tmp_path_factory.mktemp("home-of-somebody")
    cache = folder / ".cache" / "npumoe"
    for name, size in [("a.mlpackage/weight.bin", 3000), ("b.mlpackage/weight.bin", 2000),
                       ("coreml/0123-24F74/model.mlmodelc/weight.bin", 7000)]:
        (cache / name).parent.mkdir(parents=True)
        (cache / name).write_bytes(b"w" * size)
    return folder


@pytest.fixture(scope="module")
def variables(home):
    # Worker processes and the Python package of OpenVINO are found as without another home.
    return {"HOME": str(home), "XDG_CACHE_HOME": "", "NPUMOE_CACHE": "", "NPUMOE_SECRET": "s3cret"}


@pytest.fixture(scope="module")
def report(variables):
    return json.loads(doctor("--report", "--json", env=variables).stdout)


@pytest.fixture(scope="module")
def text(variables):
    return doctor("--report", env=variables).stdout


def test_devices_are_listed_with_their_version_and_what_is_missing():
    devices = {d["name"]: d for d in json.loads(doctor("--json").stdout)["devices"]}
    assert {"cpu", "emulator", "coreml"} <= set(devices)
    for device in devices.values():
        assert set(device) == {"name", "available", "version", "note"} and device["note"]
    if not devices["coreml"]["available"]:
        assert "Apple silicon" in devices["coreml"]["note"]
    shown = doctor().stdout
    assert re.search(r"^device +available +version +note$", shown, re.MULTILINE)
    for name, device in devices.items():
        row = rf"^{name} +{'yes' if device['available'] else 'no'} +{re.escape(device['version'])}"
        assert re.search(row, shown, re.MULTILINE), name


def test_the_report_tells_build_and_machine(report):
    version = json.loads(subprocess.check_output([str(PROGRAM), "version", "--json"]))
    assert {key: report["build"][key] for key in version} == version
    assert report["build"]["flags"]
    machine = report["machine"]
    assert machine["processors"] == os.cpu_count()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine["memory_bytes"] == pages
    assert machine["architecture"] == os.uname().machine
    assert machine["kernels"]
    assert set(report["chips"]) == {path.stem for path in (ROOT / "chips").glob("*.toml")}


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux only")
def test_the_report_names_system_and_processor_as_linux_does(report):
    machine = report["machine"]
    system = re.search(r'^PRETTY_NAME="?(.*?)"?$', Path("/etc/os-release").read_text(), re.MULTILINE)
    assert machine["system"] == system[1]
    assert machine["system_build"] == os.uname().release
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    assert machine["chip"] == (model[1] if model else "")
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", info, re.MULTILINE)[1].split()
    assert set(machine["cpu_features"]) <= set(flags)
    for feature in ("avx2", "avx512f", "asimd"):
        assert (feature in machine["cpu_features"]) == (feature in flags), feature


def test_the_emulator_passes_its_self_test(report):
    test = next(t for t in report["self_tests"] if t["device"] == "emulator")
    assert test["ok"] and test["result"] == "right"
    assert 0 < test["error"] <= 5e-3  # fp16 is not exact: 0 would mean that nothing was compared
    assert test["launch_ms"] > 0 and test["launch_time"] == "modelled"
    assert test["load_ms"] > 0


def test_every_available_device_is_tested_once(report):
    names = [t["device"] for t in report["self_tests"]]
    listed = [d["name"] for d in report["devices"] if d["available"] and d["name"] != "cpu"]
    tested = [n for n in listed if not any(other.startswith(n + ":") for other in listed)]
    assert names == tested
    for test in report["self_tests"]:
        assert test["ok"], f"{test['device']}: {test['result']}"
        assert test["isolated"] == (test["device"] != "emulator")
        if test["device"] != "emulator":
            assert test["launch_time"] == "measured"


def test_the_report_lists_the_cache_largest_first(report):
    cache = report["cache"]
    assert (cache["folder"], cache["entries"], cache["bytes"]) == ("~/.cache/npumoe", 3, 12000)
    assert [(e["name"], e["bytes"]) for e in cache["largest"]] == [
        ("coreml/0123-24F74", 7000), ("a.mlpackage", 3000), ("b.mlpackage", 2000)]


def test_the_report_has_nothing_private(report, text, variables, home):
    for shown in (json.dumps(report), text):
        assert str(home) not in shown
        assert variables["NPUMOE_SECRET"] not in shown
        for name in (socket.gethostname(), getpass.getuser()):
            assert not re.search(rf"\b{re.escape(name)}\b", shown), name
    assert {"NPUMOE_CHIPS", "NPUMOE_SECRET"} <= set(report["settings"])


def test_the_text_says_what_the_json_says(report, text):
    build, machine = report["build"], report["machine"]
    assert text.startswith(f"npumoe {build['version']} ({build['compiler']}, {build['build']})\n")
    for part in (build["flags"], machine["system"], machine["chip"], machine["kernels"],
                 *machine["cpu_features"], "~/.cache/npumoe: 3 entries", "coreml/0123-24F74"):
        assert part in text, part
    for device in report["devices"]:
        assert re.search(rf"^{device['name']} +(yes|no) ", text, re.MULTILINE), device["name"]
    for test in report["self_tests"]:
        row = rf"^{test['device']} .* {test['launch_time']} .* right$"
        assert re.search(row, text, re.MULTILINE), test["device"]


def test_the_report_can_go_to_a_file(variables, tmp_path):
    file = tmp_path / "report.json"
    assert doctor("--report", "--json", "-o", file, env=variables).stdout == ""
    assert json.loads(file.read_text())["build"]["version"]


def test_a_file_without_a_report_is_wrong_usage(tmp_path):
    assert "--report" in doctor("-o", tmp_path / "x", code=2).stderr
    assert not (tmp_path / "x").exists()


def test_a_report_that_cannot_be_written_is_an_error(tmp_path):
    assert "absent" in doctor("--report", "-o", tmp_path / "absent" / "x", code=1).stderr


def test_without_chip_profiles_the_report_still_comes(tmp_path, variables):
    program = tmp_path / "bin" / "npumoe"  # the program looks beside itself for chips, too
    program.parent.mkdir()
    shutil.copy(PROGRAM, program)

    def shown(*arguments):
        return subprocess.run([str(program), "doctor", "--report", *arguments], capture_output=True,
                              encoding="utf-8", timeout=600, check=True, cwd=tmp_path,
                              env={**os.environ, **variables, "NPUMOE_CHIPS": ""}).stdout

    report = json.loads(shown("--json"))
    assert report["chips"] == []
    assert not any(test["ok"] for test in report["self_tests"])
    test = report["self_tests"][0]
    assert "m2-max" in test["result"]
    assert not {"load_ms", "launch_ms", "launch_time", "error"} & set(test)  # nothing happened
    assert re.search(rf"^{test['device']} +- +- +- ", shown(), re.MULTILINE)
