#!/usr/bin/env bash
# Feeds the readers of files with inputs made to break them (targets: fuzz/*_fuzz.cc).
#   tools/fuzz.sh run [TARGET...]       fuzz each for FUZZ_SECONDS (600), FUZZ_JOBS (2) at a time;
#                                       clang's libFuzzer, preset `fuzz`
#   tools/fuzz.sh replay [TARGET...]    run fuzz/corpus/TARGET once; preset `asan`, any compiler
#   tools/fuzz.sh minimise [TARGET...]  take what new inputs reach into fuzz/corpus/TARGET
# `run` keeps logs, new inputs and findings in build/fuzz/run/TARGET and ends with a table; a
# finding (crash, broken promise, timeout, too much memory) makes it fail.
set -euo pipefail
cd "$(dirname "$0")/.."

work=build/fuzz/run
# Limits of one input, chosen: inputs are small, so none needs more.
limits=(-rss_limit_mb=2048 -malloc_limit_mb=512 -timeout=20)
export ASAN_OPTIONS=abort_on_error=1:max_allocation_size_mb=512
export UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1

build() {
  local preset=$1 names=()
  shift
  cmake --preset "$preset" ${CXX:+-DCMAKE_CXX_COMPILER="$CXX"} > /dev/null
  for target in "$@"; do names+=("fuzz_$target"); done
  cmake --build --preset "$preset" --target "${names[@]}"
}

# The longest input that makes sense: twice the longest seed, at least 4 KB.
max_bytes() {
  find "fuzz/corpus/$1" -type f -exec wc -c {} \; |
    awk '$1 > max { max = $1 } END { print (max * 2 > 4096 ? max * 2 : 4096) }'
}

# Fuzzes one target (also the command `one`, which `run` calls in parallel).
one() {
  local target=$1 folder=$work/$1 options=("${limits[@]}")
  mkdir -p "$folder/inputs" "$folder/findings"
  [ -f "fuzz/dictionaries/$target.dict" ] && options+=("-dict=fuzz/dictionaries/$target.dict")
  options+=(-max_total_time="${FUZZ_SECONDS:-600}" -max_len="$(max_bytes "$target")"
    -print_final_stats=1 -artifact_prefix="$folder/findings/")
  local verdict=ok
  "build/fuzz/fuzz/fuzz_$target" "${options[@]}" "$folder/inputs" "fuzz/corpus/$target" \
    > "$folder/log" 2>&1 || verdict=FINDING
  echo $verdict > "$folder/verdict"
  echo "fuzz: $target: $verdict"
}

# A figure of libFuzzer's -print_final_stats.
figure() { sed -n "s/^stat::$2: *//p" "$work/$1/log" | tail -1; }

summary() {
  local target edges found=()
  printf '\n%-18s %-8s %10s %8s %8s %11s %8s\n' \
    target verdict inputs 'per s' edges 'new inputs' 'peak MB'
  for target in "$@"; do
    edges=$(grep -o 'cov: [0-9]*' "$work/$target/log" | tail -1 | cut -d' ' -f2 || true)
    printf '%-18s %-8s %10s %8s %8s %11s %8s\n' "$target" "$(cat "$work/$target/verdict")" \
      "$(figure "$target" number_of_executed_units)" "$(figure "$target" average_exec_per_sec)" \
      "$edges" "$(figure "$target" new_units_added)" "$(figure "$target" peak_rss_mb)"
    grep -qx ok "$work/$target/verdict" || found+=("$target")
  done
  [ ${#found[@]} = 0 ] && return
  echo
  for target in "${found[@]}"; do
    echo "$target: see $work/$target/log; inputs in $work/$target/findings"
  done
  return 1
}

run() {
  build fuzz "$@"
  echo "fuzz: $# targets, ${FUZZ_SECONDS:-600} s each, ${FUZZ_JOBS:-2} at a time"
  for target in "$@"; do
    rm -rf "$work/$target/findings" "$work/$target/verdict" "$work/$target/log"
  done
  printf '%s\n' "$@" | xargs -P "${FUZZ_JOBS:-2}" -n 1 tools/fuzz.sh one
  summary "$@"
}

replay() {
  build asan "$@"
  for target in "$@"; do
    printf '== asan: %s: ' "$target"
    "$(find build/asan/fuzz -name "fuzz_$target" -type f -perm -u+x)" "fuzz/corpus/$target"
  done
}

minimise() {
  build fuzz "$@"
  for target in "$@"; do
    mkdir -p "$work/$target/inputs"
    "build/fuzz/fuzz/fuzz_$target" -merge=1 "${limits[@]}" "fuzz/corpus/$target" \
      "$work/$target/inputs" 2>&1 | grep '^MERGE-OUTER' | tail -1
  done
}

command=${1:-}
shift || true
if [ $# = 0 ]; then
  for file in fuzz/*_fuzz.cc; do set -- "$@" "$(basename "$file" _fuzz.cc)"; done
fi
case $command in
  run | replay | minimise | one) "$command" "$@" ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
