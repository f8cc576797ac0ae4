"""`npumoe verify --graph`, and docs/validator-rules.md, which shows the program's own table."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from conftest import GOLDENS, ROOT

DOCUMENT = ROOT / "docs" / "validator-rules.md"
MODEL = GOLDENS / "qwen3-moe"


@pytest.fixture(scope="module")
def said(npumoe):
    return json.loads(npumoe("verify", "--graph", "--rules", "--json"))


@pytest.fixture(scope="module")
def package(npumoe, tmp_path_factory):
    """A package of expert programs, planned for m2-max."""
    folder = tmp_path_factory.mktemp("package")
    ids = np.random.default_rng(20261123).integers(0, 200, 1024)
    (folder / "ids").write_text(" ".join(map(str, ids)))
    npumoe("calibrate", MODEL, "--ids-file", folder / "ids", "-o", folder / "c.json")
    npumoe("plan", MODEL, "--calibration", folder / "c.json", "--chip", "m2-max", "--min-npu-share",
           0.9, "--chunk", 128, "-o", folder / "p.json")
    npumoe("compile", MODEL, "--plan", folder / "p.json", "--cache", folder / "cache")
    return sorted((folder / "cache").glob("*.mlpackage"))[0]


def run(npumoe, *arguments):
    return subprocess.run([npumoe.program, *map(str, arguments)], encoding="utf-8",
                          capture_output=True, timeout=600, check=False)


def profile_with(tmp_path, before, after):
    text = (ROOT / "chips" / "m2-max.toml").read_text()
    assert text.count(before) == 1
    path = tmp_path / "own.toml"
    path.write_text(text.replace(before, after))
    return path


def test_the_page_on_rules_says_what_the_program_says(said):
    made = subprocess.run([sys.executable, ROOT / "tools" / "validator_rules_doc.py"],
                          input=json.dumps(said), encoding="utf-8", capture_output=True, check=True)
    assert DOCUMENT.read_text() == made.stdout, (
        "docs/validator-rules.md is stale: "
        "npumoe verify --graph --rules --json | tools/validator_rules_doc.py > " + str(DOCUMENT))


def test_every_rule_names_sections_of_the_facts(said):
    facts = (ROOT / "docs" / "design" / "ane-facts.md").read_text()
    sections = set(re.findall(r"^## (\d+)\.", facts, re.MULTILINE))
    for rule in said["rules"]:
        named = re.match(r"\d+(, \d+)*", rule["source"])
        assert named and set(named[0].split(", ")) <= sections, rule


def test_every_limit_of_the_profiles_has_a_rule_and_a_line_in_their_readme(said):
    keys = {key for rule in said["rules"] for key in rule["keys"]}
    readme = (ROOT / "chips" / "README.md").read_text()
    # Used elsewhere: rows of plans, and processes.
    no_rules = {"limits.capacity_quantum", "limits.workers"}
    for chip in sorted((ROOT / "chips").glob("*.toml")):
        table, found = "", set()
        for line in chip.read_text().splitlines():
            if header := re.match(r"\[(limits[\w.]*)\]", line):
                table = header[1]
                if table in ("limits.refused_ops", "limits.refused_forms"):
                    found.add(table)
            elif table in ("limits", "limits.graph") and (key := re.match(r"(\w+) = ", line)):
                found.add(f"{table}.{key[1]}")
        assert found == {k for k in keys if k.startswith("limits.")} | no_rules, chip.name
        assert all(f"`{key}`" in readme for key in found), chip.name


def test_the_list_for_people_has_every_rule(npumoe, said):
    lines = npumoe("verify", "--graph", "--rules").splitlines()
    listed = [line.split()[0] for line in lines[2:] if re.match(r"[a-z0-9-]+ +(error|warning) ", line)]
    assert listed == [rule["rule"] for rule in said["rules"]]


def test_a_compiled_package_is_taken_by_the_chip_of_its_plan(npumoe, said, package):
    report = json.loads(npumoe("verify", "--graph", package, "--json"))
    assert report["chip"] == "m2-max" and report["functions"]
    for function in report["functions"]:
        assert [rule["rule"] for rule in function["rules"]] == [r["rule"] for r in said["rules"]]
        assert function["refused"] == 0
        verdicts = {rule["rule"]: rule["verdict"] for rule in function["rules"]}
        assert verdicts["rank-too-high"] == "ok"
        assert verdicts["cast-to-int32"] == "no limit"  # a limit of M1
        assert verdicts["program-small"] == "warning"  # a tiny model
        assert verdicts["too-many-programs"] == "-"


def test_columns_of_the_table_align(npumoe, package):
    lines = npumoe("verify", "--graph", package).splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("rule "))
    starts = [lines[header].index(word) for word in ("verdict", "found", "why", "remedy")]
    rows = lines[header + 2:lines.index("", header)]
    assert len(rows) > 40
    for row in rows:
        for start in starts:
            assert row[start - 2:start].strip() == "", row


def test_a_refused_package_makes_the_command_fail(npumoe, package, tmp_path):
    chip = profile_with(tmp_path, "max_rank = { value = 5", "max_rank = { value = 3")
    done = run(npumoe, "verify", "--graph", package, "--chip", chip)
    assert done.returncode == 1
    assert re.search(r"^rank-too-high +refused +'x", done.stdout, re.MULTILINE), done.stdout
    assert "rules: rank-too-high" in done.stderr
    chip = profile_with(tmp_path, "max_rank = { value = 5", "max_rank = { value = 4")
    done = run(npumoe, "verify", "--graph", package, "--chip", chip)
    assert done.returncode == 0, done.stderr


def test_without_a_package_the_usage_is_explained(npumoe):
    done = run(npumoe, "verify", "--graph")
    assert done.returncode == 2 and "--rules" in done.stderr


def test_a_package_that_cannot_be_read_is_refused(npumoe, package, tmp_path):
    done = run(npumoe, "verify", "--graph", tmp_path / "none.mlpackage")
    assert done.returncode == 1 and "none.mlpackage" in done.stderr
