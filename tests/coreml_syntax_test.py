"""The Objective-C++ of the Core ML bridge, checked by clang where there is no macOS.

Against declarations of our own (tests/coreml_declarations): syntax, types, selectors, ARC. What
Core ML does with the calls only a Mac can tell. Negative controls show that the check can fail.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

BRIDGE = ROOT / "src" / "npu" / "coreml" / "coreml_bridge.mm"
FLAGS = [
    "-std=c++20", "-x", "objective-c++", "-fsyntax-only", "-fblocks", "-fobjc-arc",
    "-fobjc-runtime=macosx-15.0", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror",
    f"-I{ROOT / 'src'}", f"-I{ROOT / 'tests' / 'coreml_declarations'}"
]


@pytest.fixture(scope="session")
def clang():
    if sys.platform == "darwin":
        pytest.skip("on macOS the build itself checks the bridge, against the system's headers")
    for name in ("clang++-14", "clang++", "clang++-15", "clang++-16", "clang++-17", "clang++-18"):
        if shutil.which(name):
            return name
    if os.environ.get("CI") == "true":
        pytest.fail("clang is missing; `make setup` installs it")
    return pytest.skip("clang is missing; `make setup` installs it")


def errors_of(clang, source):
    done = subprocess.run([clang, *FLAGS, str(source)], capture_output=True, encoding="utf-8",
                          timeout=300, check=False)
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.stderr


def test_the_bridge_is_valid_objective_cpp(clang):
    assert errors_of(clang, BRIDGE) == ""


# What is changed in the bridge, and what clang has to say about it.
@pytest.mark.parametrize("before, after, complaint", [
    ("loadContentsOfURL", "loadContentOfURL", "no known class method for selector"),
    ("predictionFromFeatures:provider", "predictFromFeatures:provider",
     "no visible @interface for 'MLModel' declares the selector"),
    ("configuration.computeUnits", "configuration.computeUnit", "property 'computeUnit' not found"),
    ("options.outputBackings = backings", "options.outputBackings = names",
     "NSMutableArray<NSString *> *"),
    ("(__bridge CFDictionaryRef)attributes", "(CFDictionaryRef)attributes", "bridged cast"),
    ("^(MLComputePlan* plan, NSError* error)", "^(MLModel* plan, NSError* error)",
     "cannot initialize a parameter of type 'void (^"),
    ("operation.operatorName", "operation.name", "property 'name' not found"),
    ("MLComputeUnitsCPUAndNeuralEngine", "MLComputeUnitsNeuralEngine", "undeclared identifier"),
    ("void Unlock() override {", "void Open() override {", "only virtual member functions can be marked 'override'"),
], ids=lambda text: text[:24])
def test_a_mistake_in_the_bridge_is_found(clang, tmp_path, before, after, complaint):
    source = BRIDGE.read_text()
    assert before in source
    broken = tmp_path / BRIDGE.name
    broken.write_text(source.replace(before, after))
    assert complaint in errors_of(clang, broken)


PLATFORM = re.compile(
    r"\b(MLModel|MLMultiArray|MLCompute\w*|MLPrediction\w*|MLFeature\w*|CVPixelBuffer\w*|"
    r"NS(String|Error|URL|Array|Dictionary|Exception)|IOSurface\w*|objc_\w+|__OBJC__)\b|#\s*import")


def mentions_of_the_platform(root):
    found = []
    for path in sorted((root / "src").rglob("*")):
        inside = path.is_relative_to(root / "src" / "npu" / "coreml")
        if inside and path.suffix != ".mm":
            continue  # its C++ speaks of Core ML in comments and names of error domains
        if path.suffix == ".mm" and not inside:
            found.append(f"{path.relative_to(root)}")
        if path.suffix not in (".cc", ".h"):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if PLATFORM.search(line.split("//")[0]):
                found.append(f"{path.relative_to(root)}:{number}: {line.strip()}")
    return found


def test_only_the_bridge_knows_the_platforms_classes():
    assert mentions_of_the_platform(ROOT) == []


@pytest.mark.parametrize("name, text, count", [
    ("src/npu/x.cc", "MLModel* m;\n", 1),
    ("src/cli/x.h", "#import <Foundation/Foundation.h>\n", 1),
    ("src/npu/other/x.mm", "\n", 1),
    ("src/npu/coreml/x.mm", "MLModel* m;\n", 0),
    ("src/npu/x.h", "// like an IOSurface\nclass Model;\n", 0),
])
def test_a_mention_of_the_platform_is_found(tmp_path, name, text, count):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(text)
    assert len(mentions_of_the_platform(tmp_path)) == count
