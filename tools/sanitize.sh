#!/usr/bin/env bash
# Builds and runs unit tests with sanitizers.
#   tools/sanitize.sh PRESET ROOM[:FILTER]...     e.g.  tools/sanitize.sh tsan base:ThreadPool*
# PRESET is a CMake preset (asan or tsan). FILTER is a --gtest_filter. Of a room with a filter only
# the files are compiled whose suites the filter names. A pattern that names no suite is an error,
# so that a renamed test cannot drop out unnoticed. NPUMOE_LONG_TESTS=1 compiles the kernels for all
# instruction sets.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1
shift

# Whether the test files of the room have to be chosen: a filter that only excludes needs them all.
is_selective() { [[ $1 == *:* && ${1#*:} != -* ]]; }

# The test files of ROOM:FILTER that define or instantiate a suite that it names.
files_of() {
  local room=${1%%:*} pattern suite found
  tr ':' '\n' <<< "${1#*:}" | while read -r pattern; do
    pattern=${pattern%%-*}  # what follows is left out
    [ -z "$pattern" ] && break
    suite=${pattern%%.*}
    found=$(grep -rlE "TEST(_F|_P|_SUITE_P)?\(${suite//\*/[A-Za-z0-9_]*}," "src/$room" \
      --include='*_test.cc') || {
      echo "sanitize: '$pattern' names no suite of $room" >&2
      return 1
    }
    echo "$found"
  done
}

targets=()
selected=
for selection in "$@"; do
  room=${selection%%:*}
  if is_selective "$selection"; then
    files=$(files_of "$selection")
    selected+=";${files//$'\n'/;}"
    targets+=("${room}_selected_test")
  else
    targets+=("${room}_test")
  fi
done
cmake --preset "$preset" -DNPUMOE_SELECTED_TESTS="${selected#;}" \
  -DNPUMOE_ALL_SIMD_TARGETS="${NPUMOE_LONG_TESTS:-0}" > /dev/null
cmake --build --preset "$preset" --target "${targets[@]}"

# Runs the tests of ROOM[:FILTER].
run() {
  local selection=$1 room=${1%%:*} name filter="*" program count
  name=${room}_test
  is_selective "$selection" && name=${room}_selected_test
  [[ $selection == *:* ]] && filter=${selection#*:}
  program=$(find "build/$preset" -name "$name" -type f -perm -u+x | head -1)
  count=$("$program" --gtest_list_tests --gtest_filter="$filter" | grep -c '^  ' || true)
  if [ "$count" = 0 ]; then
    echo "sanitize: filter '$filter' selects no test of $room" >&2
    return 1
  fi
  echo "== $preset: $room ($count tests)"
  "$program" --gtest_filter="$filter" --gtest_brief=1
}

# As many rooms at once as there are processors, each one's output in one piece.
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
for selection in "$@"; do
  while [ "$(jobs -rp | wc -l)" -ge "$(getconf _NPROCESSORS_ONLN)" ]; do wait -n || true; done
  (
    log=$logs/${selection%%:*}
    run "$selection" > "$log" 2>&1 || echo "$selection" >> "$logs/failed"
    cat "$log"
  ) &
done
wait
if [ -e "$logs/failed" ]; then
  echo "sanitize: failed: $(paste -sd' ' "$logs/failed")" >&2
  exit 1
fi
