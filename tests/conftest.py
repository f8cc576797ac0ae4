"""What the tests of the program share: where it is, how it is run, where outside data lies."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GOLDENS = ROOT / "tests" / "data" / "goldens"
DEMO = ROOT / "models" / "demo"
# Tiny models of all families with outputs of the reference implementation; some lie in GOLDENS,
# the others in the shared data.
GOLDEN_NAMES = [
    "deepseek-v2", "deepseek-v2-yarn", "gpt-oss", "granite-moe", "mixtral", "mixtral-window",
    "olmoe", "olmoe-clip", "phi-moe", "phi-tiny-moe", "qwen2-moe", "qwen3-moe", "qwen3-moe-mixed",
    "qwen3-moe-yarn",
]


@pytest.fixture(scope="session")
def npumoe():
    """Runs the release build: npumoe("dump", ...) returns its stdout and fails with its stderr."""
    program = Path(os.environ.get("NPUMOE", ROOT / "build" / "release" / "npumoe"))
    if not program.is_file():
        pytest.fail(f"{program} is missing; run `make build` first or set NPUMOE")

    def run(*arguments, stdin=None):
        done = subprocess.run([str(program), *map(str, arguments)], input=stdin, encoding="utf-8",
                              capture_output=True, timeout=600, check=False)
        command = " ".join(map(str, arguments))
        assert done.returncode == 0, f"npumoe {command}: exit {done.returncode}\n{done.stderr}"
        return done.stdout

    run.program = str(program)
    return run


@pytest.fixture(scope="session")
def shared_data():
    """Data that is too large for the repository; its absence is an error only in CI."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{folder} is missing")
        pytest.skip(f"{folder} is not here")
    return folder


@pytest.fixture(scope="session")
def golden_folder():
    """golden_folder(name): where a golden lies; skips (in CI: fails) where it is absent."""
    def find(name):
        for parent in (GOLDENS, ROOT.parent / "shared" / "data" / "goldens"):
            if (parent / name).is_dir():
                return parent / name
        if os.environ.get("CI") == "true":
            pytest.fail(f"the golden {name} is missing")
        return pytest.skip(f"the golden {name} is not here")

    return find
