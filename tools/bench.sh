#!/usr/bin/env bash
# Runs every benchmark program of the release build, two threads unless told otherwise.
#   BENCH_FILTER=regex BENCH_ARGS='--benchmark_repetitions=5' tools/bench.sh
set -euo pipefail
cd "$(dirname "$0")/.."

echo "machine: $(uname -sm), $(getconf _NPROCESSORS_ONLN) processors"
[ -r /proc/cpuinfo ] && grep -m1 'model name' /proc/cpuinfo
find build/release -name '*_bench' -type f -perm -u+x | sort | while read -r program; do
  echo "== ${program##*/}"
  # shellcheck disable=SC2086  # several arguments on purpose
  "$program" --benchmark_filter="${BENCH_FILTER:-.}" ${BENCH_ARGS:-}
done
