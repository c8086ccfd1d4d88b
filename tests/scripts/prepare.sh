#!/usr/bin/env bash
# Sees to it that what a make target needs is there: prepare.sh [rust] [python] [control-plane] [nginx].
# Installs Debian packages when it may (root), builds the rest into $CHATHOOKS_CACHE, and otherwise says what to install.
# Standard output is for results (the path of a Python, the folder of a control plane), everything else goes to standard error.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache="${CHATHOOKS_CACHE:-$HOME/.cache/chathooks}"

say() { printf '== prepare: %s\n' "$*" >&2; }
fail() { printf 'prepare: %s\n' "$*" >&2; exit 1; }

# packages WHAT PACKAGE...: installs the packages that bring WHAT, or says how.
packages() {
  local what=$1
  shift
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    fail "$what is missing; install it, then run this again (Debian: apt-get install $*)"
  fi
  say "installing $*"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"; } >&2 </dev/null
}

rust() {
  command -v cargo >/dev/null || fail "cargo is missing; install rustup from https://rustup.rs, then run this again"
  # rustup installs the toolchain that rust-toolchain.toml names at the first use.
  cargo --version >/dev/null || fail "the toolchain of rust-toolchain.toml is missing; run: rustup toolchain install"
  # ring and zstd are compiled from C.
  command -v cc >/dev/null || packages 'a C compiler' gcc libc6-dev
}

python() {
  # Debian's python3 comes without ensurepip, which venv needs.
  python3 -c 'import ensurepip, venv' 2>/dev/null || packages 'Python 3 with venv' python3 python3-venv
  local requirements=tests/scripts/requirements.txt venv
  venv="$cache/python-$(sha256sum "$requirements" | cut -c1-12)"
  if [[ ! -e $venv/ready ]]; then
    say "making the Python environment $venv"
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --no-input --disable-pip-version-check --require-hashes -r "$requirements" >&2
    touch "$venv/ready"
  fi
  printf '%s\n' "$venv/bin/python"
}

nginx() {
  PATH="$PATH:/usr/sbin" command -v nginx >/dev/null || packages nginx nginx-core
}

control-plane() {
  tests/cluster/build.sh
}

for need in "$@"; do
  case $need in
    rust | python | control-plane | nginx) "$need" ;;
    *) fail "unknown need: $need" ;;
  esac
done
