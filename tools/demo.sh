#!/usr/bin/env bash
# The main job, end to end, on the model in models/demo: calibrate, plan, compile, run.
#   tools/demo.sh [WORK_FOLDER]     needs build/release/npumoe (`make build`); `make demo` does both
set -euo pipefail
cd "$(dirname "$0")/.."
npumoe=build/release/npumoe
model=models/demo
work=${1:-build/demo}
mkdir -p "$work"

# step TITLE COMMAND...: shows the command as it is run, then runs it.
step() {
  printf '\n== %s\n   $ %s\n\n' "$1" "${*:2}"
  "${@:2}"
}

step "1. Calibrate: which experts are popular, on a sample text" \
  $npumoe calibrate $model --data $model/calibration_sample.txt --max-tokens 32768 --force \
  -o "$work/demo.calib.json"

step "2. Plan for an M2 Max, without constraints" \
  $npumoe plan $model --calibration "$work/demo.calib.json" --chip m2-max --prompt-tokens 707 \
  -o "$work/free.plan.json"
echo
echo "To show the whole road although the model is small, the next plan keeps at least 90% of the"
echo "expert work on the NPU (--min-npu-share 0.9)."

step "3. Plan with at least 90% of the expert work on the NPU" \
  $npumoe plan $model --calibration "$work/demo.calib.json" --chip m2-max --prompt-tokens 707 \
  --min-npu-share 0.9 -o "$work/demo.plan.json" --explain

step "4. Compile the plan into Core ML packages" \
  $npumoe compile $model --plan "$work/demo.plan.json" --cache "$work/packages"

step "5. Verify them on the emulated NPU" \
  $npumoe verify $model --plan "$work/demo.plan.json" --cache "$work/packages" \
  --data $model/held_out_text.txt --tokens 1024

step "6. Ask for a number hidden in 707 tokens of prose; prefill on the emulated NPU" \
  $npumoe run $model -f $model/needle_question.txt --plan "$work/demo.plan.json" \
  --cache "$work/packages" --compare-cpu -n 8 --temp 0 | tee "$work/answer.txt"
echo
grep -q '^ 4821907' "$work/answer.txt" || { echo "demo: the answer is not 4821907" >&2; exit 1; }
echo "The hidden number is 4821907: found."
