#!/bin/sh
# Make .venv from the lock files:  deploy/environment.sh [GROUP …]  (groups: cluster, demo, dev)
#
# Whether it fits is decided by what the lock files hold, not by their age. A new environment is built beside the old one
# and takes its place when it is whole. A link to the .venv of another checkout serves where it fits and is never changed.
set -eu
cd "$(dirname "$0")/.."
UV=uv==0.13.9

fail() { echo "unroll: $*" >&2; exit 1; }
say() { echo "unroll: .venv: $* ($(($(date +%s) - started)) s so far)"; }
locks() { if [ "$1" = base ]; then cat requirements.lock requirements-torch.txt; else cat "requirements-$1.lock"; fi; }
fits() { [ -x .venv/bin/python ] && locks "$1" | cmp -s - ".venv/.$1"; }

find_python() {
  for python in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
    [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || return 0
  done
  fail "no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=/path/to/python3.12"
}

# uv draws bars on a terminal; a log gets the lines of `say`.
install() {
  environment=$1; shift
  if [ -t 2 ]; then quiet=; else quiet=--quiet; fi
  VIRTUAL_ENV=$environment "$environment/bin/uv" pip install $quiet --compile-bytecode "$@"
}

build() {
  find_python
  for left in .venv.new.*; do  # of a build that was killed
    [ ! -d "$left" ] || kill -0 "${left##*.}" 2>/dev/null || rm -rf "$left"
  done
  new=$PWD/.venv.new.$$
  trap 'rm -rf "$new"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  echo "unroll: making .venv with $python ($("$python" -V)): $(grep -c '^[a-z0-9].*==' requirements.lock) packages, then torch; a minute or two, longer over a slow line"
  "$python" -m venv "$new"
  "$new/bin/python" -m pip install --quiet --disable-pip-version-check "$UV"
  # Scripts that find their interpreter beside them, since the folder is about to be renamed.
  echo "relocatable = true" >> "$new/pyvenv.cfg"
  say "installing requirements.lock"
  install "$new" --require-hashes -r requirements.lock
  # torch stands apart, so that UV_TORCH_BACKEND=cpu (or cu130, …) chooses its build
  say "installing requirements-torch.txt"
  install "$new" -r requirements-torch.txt || {
    [ -z "${UV_TORCH_BACKEND:-}" ] || echo "unroll: UV_TORCH_BACKEND=$UV_TORCH_BACKEND takes torch from PyTorch's own" \
      "index; without the variable it comes from the package index of the rest" >&2
    fail "torch was not installed"
  }
  "$new/bin/uv" pip uninstall --quiet --python "$new/bin/python" pip
  locks base > "$new/.base"
  old=.venv.new.$$.old
  [ ! -e .venv ] || mv .venv "$old"
  mv "$new" .venv
  rm -rf "$old"
  "$python" -m venv .venv  # writes `activate` and `pip` anew, which name the folder they stand in
  say "ready"
}

started=$(date +%s)
for part in base "$@"; do
  fits "$part" && continue
  [ ! -L .venv ] || fail ".venv is a link to $(readlink .venv), which does not hold what this checkout's lock files ask for" \
    "and is left as it is; remove the link (rm .venv), and make builds an environment here"
  if [ "$part" = base ]; then build; continue; fi
  say "installing requirements-$part.lock"
  # A lock holds all that is needed: none of it is to be looked up, or measured by bounds that `make lock` has lifted.
  install "$PWD/.venv" --no-deps --require-hashes -r "requirements-$part.lock"
  locks "$part" > ".venv/.$part"
  say "ready, with $part"
done
