# Sourced by bin/lab and bin/test: a private Python environment and a built Lab extension, each made once and then kept in
# the user's cache under the hash of what it is made from.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/jupyter-offload
mkdir -p "$cache"

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# Hash of files and folders, by name and content, without what builds leave in them.
hash_of() {
  (
    cd "$root"
    find "$@" \( -name node_modules -o -name lib -o -name __pycache__ \) -prune -o -type f -not -name '*.tsbuildinfo' -print0 |
      LC_ALL=C sort -z | xargs -0 cksum | cksum | cut -d' ' -f1
  )
}

# The first Python that really runs (a pyenv shim may exist and fail) and is new enough.
find_python() {
  local candidate
  for candidate in ${JUPYTER_OFFLOAD_PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "No Python 3.11, 3.12 or 3.13 with venv and pip was found." \
    "Install one (Debian: apt install python3 python3-venv), or name it: JUPYTER_OFFLOAD_PYTHON=/path/to/python $0"
}

# make_venv NAME LOCK: sets $venv to a folder with what the lock file names.
make_venv() {
  local python version
  python=$(find_python)
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  venv=$cache/$1-py$version-$(hash_of "$2")
  if [ ! -e "$venv/.complete" ]; then
    say "Making a Python $version environment in $venv (some minutes, once) ..."
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$root/$2"
    touch "$venv/.complete"
  fi
}

# The prebuilt Lab extension; hatch takes it as it is and needs no node then.
build_labextension() {
  local output=$root/jupyter_offload/labextension key kept
  key=$(hash_of labextension)
  kept=$cache/labextension-$key
  if [ ! -e "$kept/static/style.js" ]; then
    command -v node >/dev/null || die "Building the Lab extension from source needs node 20 or newer." \
      "Install it (Debian: apt install nodejs), or install a released wheel: pip install jupyter_offload"
    say "Building the Lab extension (some minutes, once) ..."
    (cd "$root/labextension" && PATH="$venv/bin:$PATH" jlpm install --immutable && PATH="$venv/bin:$PATH" jlpm build:prod) \
      >"$cache/labextension.log" 2>&1 || { tail -30 "$cache/labextension.log" >&2; die "The build failed: $cache/labextension.log"; }
    rm -rf "$kept.part" && cp -R "$output" "$kept.part" && rm -rf "$kept" && mv "$kept.part" "$kept"
  fi
  if [ "$(cat "$output/.key" 2>/dev/null)" != "$key" ]; then
    rm -rf "$output" && cp -R "$kept" "$output" && printf %s "$key" >"$output/.key"
  fi
}

# Our own package, as a link to these sources, with the Lab extension of now.
install_package() {
  local state
  state="$root $(hash_of pyproject.toml labextension/package.json install.json jupyter-config) $(cat "$root/jupyter_offload/labextension/.key")"
  if [ "$(cat "$venv/.package" 2>/dev/null)" != "$state" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable "$root"
    printf %s "$state" >"$venv/.package"
  fi
}
