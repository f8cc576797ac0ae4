#!/usr/bin/env bash
# Makes .venv with what tests/requirements.txt pins; quick when it is up to date.
# PYTHON=... chooses the interpreter (3.9 to 3.13, as coremltools asks).
set -euo pipefail
cd "$(dirname "$0")/.."

usable() {
  command -v "$1" > /dev/null &&
    "$1" -c 'import sys, ensurepip; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 13))' \
      2> /dev/null
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python3.9}; do
    if usable "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "python_env: no Python 3.9 to 3.13 with venv found; set PYTHON=/path/to/one" >&2
  return 1
}

stamp=.venv/requirements.installed
cmp -s tests/requirements.txt "$stamp" && exit 0
python=$(find_python)
echo "python_env: making .venv with $("$python" --version)" >&2
rm -rf .venv
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
cp tests/requirements.txt "$stamp"
