#!/usr/bin/env bash
# Sees to it that what a make target needs is there: prepare.sh [rust] [python] [helm] [control_plane] [nginx] [open_webui].
# Installs Debian packages when it may (root), builds the rest into $CHATHOOKS_CACHE, and otherwise says what to install.
# Standard output is for results (the path of a Python, of helm, of an environment, of a control plane), everything else goes to standard error.
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

helm() {
  local version=v3.22.0 folder
  folder="$cache/helm-$version"
  if [[ ! -x $folder/helm ]]; then
    command -v go >/dev/null || fail "Go is missing, with which helm is built; install Go 1.26 or newer from https://go.dev/dl, then run this again"
    say "building helm $version, once for all clones; this takes some minutes"
    mkdir -p "$cache"
    local building
    building="$(mktemp -d "$cache/helm.XXXXXX")"
    # From another folder, so that no go.mod of ours has a say.
    (cd "$building" && env GOBIN="$building" GOFLAGS= CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' "helm.sh/helm/v3/cmd/helm@$version") >&2
    mkdir -p "$folder"
    mv "$building/helm" "$folder/helm"
    rmdir "$building"
  fi
  printf '%s\n' "$folder/helm"
}

nginx() {
  PATH="$PATH:/usr/sbin" command -v nginx >/dev/null || packages nginx nginx-core
}

control_plane() {
  tests/cluster/build.sh
}

# Open WebUI 0.12.4 wants Python 3.11 or 3.12. PYTHON wins, then the first that fits.
python_for_open_webui() {
  local candidate
  for candidate in ${PYTHON:-python3.12 python3.11 python3}; do
    if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

install_open_webui() {
  local version=$1 folder=$2 venv=$2/venv base work
  python3 -c 'import ensurepip, venv' 2>/dev/null || packages 'Python 3 with venv' python3 python3-venv
  base=$(python_for_open_webui) || fail "Open WebUI $version needs Python 3.11 or 3.12 with venv; set PYTHON to one"
  say "installing Open WebUI $version into $venv (about 770 MB, a few minutes)"
  # A half-made environment of an interrupted run is of no use.
  rm -rf "$venv"
  "$base" -m venv "$venv" >&2
  work=$(mktemp -d "$folder/install.XXXXXX")
  # The wheel carries the slim list of requirements: the full one pulls several gigabytes of machine learning.
  timeout 900 "$venv/bin/pip" download --quiet --no-deps --dest "$work" "open-webui==$version" >&2 \
    || fail "the wheel of Open WebUI $version could not be downloaded"
  "$venv/bin/python" - "$work" >&2 <<'PYTHON' || fail "the wheel of Open WebUI $version has no requirements-slim.txt"
import pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
(wheel,) = work.glob("open_webui-*.whl")
with zipfile.ZipFile(wheel) as archive:
    (name,) = [n for n in archive.namelist() if n.endswith("requirements-slim.txt")]
    (work / "requirements-slim.txt").write_bytes(archive.read(name))
PYTHON
  timeout 1800 "$venv/bin/pip" install --quiet -r "$work/requirements-slim.txt" >&2 \
    || fail "the requirements of Open WebUI $version could not be installed"
  timeout 900 "$venv/bin/pip" install --quiet --no-deps "$work"/open_webui-*.whl >&2 \
    || fail "Open WebUI $version could not be installed"
  touch "$venv/.complete"
  rm -rf "$work"
}

# The environment with the chat platform that the tests run against.
open_webui() {
  local version=0.12.4 folder
  folder=$cache/open-webui-$version
  mkdir -p "$folder"
  # Two runs at once must not build the same environment.
  (
    flock --wait 3000 9 || fail "another run has held the lock of $folder for 50 minutes"
    [[ -e $folder/venv/.complete ]] || install_open_webui "$version" "$folder" 9>&-
  ) 9>"$folder/lock"
  printf '%s\n' "$folder/venv"
}

for need in "$@"; do
  case $need in
    rust | python | helm | control_plane | nginx | open_webui) "$need" ;;
    *) fail "unknown need: $need" ;;
  esac
done
