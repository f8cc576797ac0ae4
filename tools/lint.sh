#!/usr/bin/env bash
# Checks layout (clang-format) and runs clang-tidy; needs a configured release build.
#   tools/lint.sh [FILE...]       all files of the repository when none is named
#   tools/lint.sh --fix           lays all files out instead of checking
set -euo pipefail
cd "$(dirname "$0")/.."

tool() { command -v "$1-14" || command -v "$1" || command -v "$(brew --prefix llvm)/bin/$1"; }
format=$(tool clang-format)

if [ "${1:-}" = --fix ]; then
  git ls-files -z '*.cc' '*.h' '*.mm' | xargs -0 "$format" -i
  exit 0
fi

files=("$@")
if [ ${#files[@]} = 0 ]; then
  while IFS= read -r file; do files+=("$file"); done < <(git ls-files '*.cc' '*.h' '*.mm')
fi
"$format" --dry-run -Werror "${files[@]}"

sources=()
for file in "${files[@]}"; do [[ $file == *.cc ]] && sources+=("$file"); done
[ ${#sources[@]} = 0 ] && exit 0
printf '%s\n' "${sources[@]}" |
  xargs -n 4 -P "$(getconf _NPROCESSORS_ONLN)" "$(tool clang-tidy)" -p build/release --quiet \
    --extra-arg=-Wno-unknown-warning-option  # the options are g++'s
