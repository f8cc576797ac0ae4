#!/usr/bin/env bash
# Installs what tools/packages.txt lists and this machine lacks; quick when nothing is missing.
#   tools/setup.sh [GROUP...]     groups: build (default), lint, fuzz
# NPUMOE_SKIP_SETUP=1 skips it, for systems with another package manager.
set -euo pipefail

list="$(dirname "$0")/packages.txt"

# Prints column $1 of the packages of the groups that follow.
packages() {
  local column=$1
  shift
  awk -v column="$column" -v groups=" $* " \
    '!/^#/ && NF && index(groups, " " $1 " ") && $column != "-" { print $column }' "$list"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo > /dev/null; then
    sudo "$@"
  else
    echo "setup: needs root and there is no sudo; as root run: $*" >&2
    exit 1
  fi
}

setup_debian() {
  local wanted missing=() package
  wanted=$(packages 2 "$@")
  for package in $wanted; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2> /dev/null | grep -qx installed ||
      missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  echo "setup: installing ${missing[*]}" >&2
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}

setup_homebrew() {
  if ! xcode-select -p > /dev/null 2>&1; then
    echo "setup: no compiler; run 'xcode-select --install' first" >&2
    exit 1
  fi
  local installed missing=() formula
  installed=$(brew list --formula -1)
  for formula in $(packages 3 "$@"); do
    grep -qxF "$formula" <<< "$installed" || missing+=("$formula")
  done
  [ ${#missing[@]} = 0 ] && return
  echo "setup: installing ${missing[*]}" >&2
  brew install --quiet "${missing[@]}"
}

[ "${NPUMOE_SKIP_SETUP:-0}" = 1 ] && exit 0
[ $# = 0 ] && set -- build
if command -v apt-get > /dev/null; then
  setup_debian "$@"
elif command -v brew > /dev/null; then
  setup_homebrew "$@"
else
  echo "setup: neither apt-get nor brew found; install what tools/packages.txt lists and set" \
    "NPUMOE_SKIP_SETUP=1" >&2
  exit 1
fi
