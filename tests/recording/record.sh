#!/usr/bin/env bash
# Records a session of a real Open WebUI into tests/fixtures/open-webui-0.12.4/.
#
#   record.sh           record and write the fixtures
#   record.sh --check   record again and compare the shapes with the committed ones; exit 1 if they differ
#
# Everything outside the standard library of Python is installed into a virtual environment in a cache
# folder, once; the next run starts in seconds.
set -euo pipefail

version=0.12.4
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${CHATHOOKS_CACHE:-$HOME/.cache/chathooks}/open-webui-$version
venv=$cache/venv

say() { printf 'record: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

case "${1:-}" in
  '' | --check) [ "$#" -le 1 ] || die "Too many arguments; the only one is --check." ;;
  -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) die "The argument '$1' is not known; the only one is --check." ;;
esac

# Open WebUI 0.12.4 wants Python 3.11 or 3.12. PYTHON wins, then the first that fits.
pick_python() {
  local candidate
  for candidate in ${PYTHON:-python3.12 python3.11 python3}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

install() {
  local python work
  python=$(pick_python) || die "Open WebUI $version needs Python 3.11 or 3.12; set PYTHON to one."
  say "installing Open WebUI $version (about 770 MB, a few minutes)"
  # A half-made environment of an interrupted run is of no use.
  rm -rf "$venv"
  "$python" -m venv "$venv" || die "The virtual environment could not be made with $python."
  work=$(mktemp -d "$cache/install.XXXXXX")
  # shellcheck disable=SC2064  # the folder is known now
  trap "rm -rf '$work'" EXIT
  # The wheel carries the slim list of requirements: the full one pulls several gigabytes of machine learning.
  timeout 900 "$venv/bin/pip" download --quiet --no-deps --dest "$work" "open-webui==$version" \
    || die "The wheel of Open WebUI $version could not be downloaded."
  "$venv/bin/python" - "$work" <<'PYTHON' || die "The wheel of Open WebUI $version has no requirements-slim.txt."
import pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
(wheel,) = work.glob("open_webui-*.whl")
with zipfile.ZipFile(wheel) as archive:
    (name,) = [n for n in archive.namelist() if n.endswith("requirements-slim.txt")]
    (work / "requirements-slim.txt").write_bytes(archive.read(name))
PYTHON
  timeout 1800 "$venv/bin/pip" install --quiet -r "$work/requirements-slim.txt" \
    || die "The requirements of Open WebUI $version could not be installed."
  timeout 900 "$venv/bin/pip" install --quiet --no-deps "$work"/open_webui-*.whl \
    || die "Open WebUI $version could not be installed."
  touch "$venv/.complete"
  rm -rf "$work"
  trap - EXIT
}

mkdir -p "$cache"
# Two runs at once must not build the same environment; the lock is let go when this shell ends.
exec 9>"$cache/lock"
flock --wait 3000 9 || die "Another run has held the lock of the cache folder for 50 minutes."
[ -e "$venv/.complete" ] || install
flock --unlock 9
# The recording must not keep the lock's descriptor open in the server it starts.
exec 9>&-

exec "$venv/bin/python" "$here/record.py" \
  --server "$venv/bin/open-webui" \
  --fixtures "$root/tests/fixtures/open-webui-$version" \
  --catalogue "$root/src/event/catalogue/open_webui_0_12_4.txt" \
  "$@"
