"""Judges .mlpackage folders on any machine: Apple's coremltools reads them, numpy executes them.

  python -m judge check PACKAGE...
      one JSON object a package; exit code 1 when one is refused
  python -m judge run PACKAGE FUNCTION INPUTS.safetensors OUTPUTS.safetensors
      executes one function; outputs are written as float32

(from the folder tests/, in the environment that tools/python_env.sh makes)
"""

import json
import sys

from safetensors.numpy import load_file, save_file

from .execution import execute
from .reading import describe, open_package


def check(paths):
    refused = 0
    for path in paths:
        try:
            print(json.dumps(describe(open_package(path))))
        except Exception as error:  # whatever the reader objects to is the verdict
            refused = 1
            print(json.dumps({"package": path, "refused": f"{type(error).__name__}: {error}"}))
    return refused


def run(package, function, inputs, outputs):
    functions = open_package(package).functions
    if function not in functions:
        print(f"judge: {package} has no function '{function}'; it has {sorted(functions)}",
              file=sys.stderr)
        return 1
    save_file(execute(functions[function], load_file(inputs)), outputs)
    return 0


def main(arguments):
    if len(arguments) >= 2 and arguments[0] == "check":
        return check(arguments[1:])
    if len(arguments) == 5 and arguments[0] == "run":
        return run(*arguments[1:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
