# scripts/quickstart and scripts/test source this file. It makes .venv with the versions of scripts/constraints.txt.
# It needs only Python 3.11 or newer and a package index that pip can reach.
#
#   PYTHON              the interpreter that makes .venv (default: the first suitable one of python3.11 … python3)
#   BENCH_TORCH_INDEX   an index with PyTorch's CPU builds (see PyTorch's install page); it saves about 2 GB
#                       on a machine without an NVIDIA GPU

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 2; }

find_python() {
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python 3.11 or newer with the venv module found; install one or set PYTHON=/path/to/python"
}

# pip warns about index directories that do not exist. These warnings are hidden, because they are not about this package.
quiet_pip() {
  .venv/bin/python -m pip --disable-pip-version-check install --quiet "$@" 2> >(grep -v '^WARNING: Location' >&2)
}

# Install the CPU build of torch if there is no NVIDIA GPU and an index has that build, else the default build.
install_torch() {
  .venv/bin/python -c 'import torch' 2>/dev/null && return
  local version index=()
  version=$(sed -n 's/^torch==//p' scripts/constraints.txt)
  [ -n "${BENCH_TORCH_INDEX:-}" ] && index=(--extra-index-url "$BENCH_TORCH_INDEX")
  if ! command -v nvidia-smi >/dev/null 2>&1; then
    say "installing torch $version, CPU build"
    quiet_pip "${index[@]}" "torch==$version+cpu" 2>/dev/null && return
    say "no CPU build on your package index: taking the default build (set BENCH_TORCH_INDEX to avoid that)"
  fi
  quiet_pip "${index[@]}" "torch==$version"
}

# make_environment EXTRAS: make .venv with the package (editable) and its extras. If nothing changed, do nothing.
make_environment() {
  local stamp wanted
  [ -x .venv/bin/python ] || { say "making .venv"; "$(find_python)" -m venv .venv; }
  wanted=$(cat pyproject.toml scripts/constraints.txt | cksum)" $1"
  stamp=.venv/installed-$(echo "$1" | tr ',' '-')
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  install_torch
  say "installing inference-cost-bench[$1]"
  quiet_pip --constraint scripts/constraints.txt --editable ".[$1]"
  echo "$wanted" > "$stamp"
}
