#!/usr/bin/env bash
# Builds etcd, kube-apiserver and kubectl at the versions of go.mod into $CHATHOOKS_CACHE, once for all clones, and
# prints the folder that holds them. Where KUBEBUILDER_ASSETS names such a folder, that one is printed instead.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '== control plane: %s\n' "$*" >&2; }
fail() { printf 'control plane: %s\n' "$*" >&2; exit 1; }

# What is built from which package, the quick ones last.
programs=(kube-apiserver etcd kubectl)
package() {
  case $1 in
    etcd) echo go.etcd.io/etcd/server/v3 ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
  esac
}

# version MODULE: as go.mod requires it.
version() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print $2; exit }' go.mod; }

# at_least HAVE WANTED: compares versions.
at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

need_go() {
  local wanted have
  wanted=$(awk '$1 == "go" { print $2; exit }' go.mod)
  if [[ -z $(type -P go) && -x /usr/local/go/bin/go ]]; then
    PATH="$PATH:/usr/local/go/bin"
  fi
  # Any Go since 1.21 fetches the one that go.mod names, so Debian's does where it is not older than that.
  if [[ -z $(type -P go) && $(id -u) == 0 && -n $(type -P apt-get) ]]; then
    say 'installing golang-go'
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends golang-go; } >&2 </dev/null || true
  fi
  [[ -n $(type -P go) ]] || fail "Go is missing; install Go $wanted or newer from https://go.dev/dl, then run this again"
  have=$(go env GOVERSION 2>/dev/null || true)
  have=${have#go}
  at_least "${have:-0}" "$wanted" ||
    fail "Go $wanted or newer is needed, found ${have:-$(go version)}; install it from https://go.dev/dl, or set GOTOOLCHAIN=auto with a Go since 1.21"
}

# build PROGRAM: into $folder, there or not there, never half.
build() {
  local begun=$SECONDS
  say "building $1, once for all clones"
  CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" \
    -o "$folder/.$1.$$" "$(package "$1")" >&2
  mv "$folder/.$1.$$" "$folder/$1"
  say "$1 built in $((SECONDS - begun)) s"
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  for program in etcd kube-apiserver; do
    [[ -x $KUBEBUILDER_ASSETS/$program ]] ||
      fail "KUBEBUILDER_ASSETS names $KUBEBUILDER_ASSETS, where there is no $program; unset it to have one built"
  done
  printf '%s\n' "$KUBEBUILDER_ASSETS"
  exit
fi

kubernetes=$(version k8s.io/kubernetes)
etcd=$(version go.etcd.io/etcd/server/v3)
[[ -n $kubernetes && -n $etcd ]] || fail 'go.mod requires no k8s.io/kubernetes or no go.etcd.io/etcd/server/v3'
folder="${CHATHOOKS_CACHE:-$HOME/.cache/chathooks}/control-plane-$kubernetes-etcd-$etcd"
mkdir -p "$folder"

missing() {
  local program
  for program in "${programs[@]}"; do [[ -x $folder/$program ]] || printf '%s ' "$program"; done
}

if [[ -n $(missing) ]]; then
  exec 9>"$folder/.lock"
  flock -n 9 || { say "another run builds into $folder; waiting for it"; flock 9; }
  if [[ -n $(missing) ]]; then
    need_go
    say "building $(missing)at $kubernetes and etcd $etcd; from nothing this takes some minutes"
    trap 'rm -f "$folder"/.*."$$"' EXIT
    for program in $(missing); do build "$program"; done
  fi
fi
printf '%s\n' "$folder"
