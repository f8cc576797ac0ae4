#!/usr/bin/env bash
# Builds and runs unit tests with sanitizers.
#   tools/sanitize.sh PRESET ROOM[:FILTER]...     e.g.  tools/sanitize.sh tsan base:ThreadPool*
# PRESET is a CMake preset (asan or tsan). FILTER is a --gtest_filter; one that selects no test is
# an error, so that a renamed test cannot drop out unnoticed.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1
shift
cmake --preset "$preset" > /dev/null
targets=()
for selection in "$@"; do targets+=("${selection%%:*}_test"); done
cmake --build --preset "$preset" --target "${targets[@]}"

for selection in "$@"; do
  room=${selection%%:*}
  filter="*"
  [[ $selection == *:* ]] && filter=${selection#*:}
  program=$(find "build/$preset" -name "${room}_test" -type f -perm -u+x | head -1)
  selected=$("$program" --gtest_list_tests --gtest_filter="$filter" | grep -c '^  ' || true)
  if [ "$selected" = 0 ]; then
    echo "sanitize: filter '$filter' selects no test of $room" >&2
    exit 1
  fi
  echo "== $preset: $room ($selected tests)"
  "$program" --gtest_filter="$filter" --gtest_brief=1
done
