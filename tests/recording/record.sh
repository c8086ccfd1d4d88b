#!/usr/bin/env bash
# Records a session of a real Open WebUI into tests/fixtures/open-webui-0.12.4/.
#
#   record.sh           record and write the fixtures
#   record.sh --check   record again and compare the shapes with the committed ones; exit 1 if they differ
#
# tests/scripts/prepare.sh installs Open WebUI into a cache folder, once; the next run starts in seconds.
set -euo pipefail

version=0.12.4
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

say() { printf 'record: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

case "${1:-}" in
  '' | --check) [ "$#" -le 1 ] || die "Too many arguments; the only one is --check." ;;
  -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) die "The argument '$1' is not known; the only one is --check." ;;
esac

venv=$("$root/tests/scripts/prepare.sh" open_webui) || exit 2

exec "$venv/bin/python" "$here/record.py" \
  --server "$venv/bin/open-webui" \
  --fixtures "$root/tests/fixtures/open-webui-$version" \
  --catalogue "$root/src/event/catalogue/open_webui_0_12_4.txt" \
  "$@"
