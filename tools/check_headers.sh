#!/usr/bin/env bash
# Compiles headers alone: who includes one needs to know nothing else. Needs no build. Headers that
# their own source includes first are left to the build, which compiles nothing before them either.
# Highway's *-inl.h are left out; they are made to be compiled once per target inside another file.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Messages come from the build; here they are made apart, so that no build is needed.
readonly generated=build/headers
mkdir -p "$generated"
protoc --proto_path=. --cpp_out="$generated" --grpc_out="$generated" \
  --plugin=protoc-gen-grpc="$(command -v grpc_cpp_plugin)" proto/*.proto

read -ra package_flags < <(pkg-config --cflags libhwy libpcre2-8)
flags=(-std=c++20 -ffp-contract=off -fsyntax-only -Wall -Wextra -Werror
  -Wno-missing-field-initializers -I. -isystem "$generated" '-DCONCLAVE_SOURCE_DIR="."'
  '-DCONCLAVE_EXPERT_SERVER=""'
  "${package_flags[@]}")

# Whether the header's own source begins with it.
comes_first() {
  local source=${1%.h}.cc
  [[ -f $source ]] && grep -m1 '^#include' "$source" | grep -qF "\"$1\""
}

check_header() {
  local header=$1
  shift
  if [[ ! -f $header ]]; then return; fi  # known to git, but deleted
  if comes_first "$header"; then return; fi
  if ! echo "#include \"$header\"" | "${CXX:-g++}" "$@" -x c++ -; then
    echo "$header:1: does not compile alone"
    return 1
  fi
}
export -f comes_first check_header

git ls-files --cached --others --exclude-standard '*.h' | grep -v -e '-inl\.h$' |
  xargs -r -P "${JOBS:-$(nproc)}" -I{} \
    bash -c 'set -euo pipefail; check_header "$@"' _ {} "${flags[@]}"
