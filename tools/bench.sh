#!/usr/bin/env bash
# Runs every benchmark program of the release build, two threads unless told otherwise.
# First whole prefill and decode on a synthetic model (BENCH_LAYERS, 1.2 GB each, plus 1.3 GB).
#   BENCH_FILTER=regex BENCH_ARGS='--benchmark_repetitions=5' tools/bench.sh
set -euo pipefail
cd "$(dirname "$0")/.."

echo "machine: $(uname -sm), $(getconf _NPROCESSORS_ONLN) processors"
[ -r /proc/cpuinfo ] && grep -m1 'model name' /proc/cpuinfo
echo "== npumoe bench: prefill and decode against this machine's limits"
build/release/npumoe bench --synthetic "${BENCH_LAYERS:-4}" -t 2
find build/release -name '*_bench' -type f -perm -u+x | sort | while read -r program; do
  echo "== ${program##*/}"
  # shellcheck disable=SC2086  # several arguments on purpose
  "$program" --benchmark_filter="${BENCH_FILTER:-.}" ${BENCH_ARGS:-}
done
