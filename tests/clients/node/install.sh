#!/usr/bin/env bash
# Puts the packages of package-lock.json into FOLDER/node_modules, once: needs the npm registry, or
# a cache of npm's that has them.
#
# usage: install.sh FOLDER
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$1
installed=$folder/node_modules/.installed

die() {
  echo "tests/clients/node: $*" >&2
  exit 1
}

command -v node >/dev/null || die "there is no node; install Debian's nodejs and npm, or Node >= 18"
major=$(node -p 'process.versions.node.split(".")[0]')
((major >= 18)) || die "node is version $(node --version), must be at least 18"
if cmp -s "$here/package-lock.json" "$installed"; then exit 0; fi
command -v npm >/dev/null || die "there is no npm; install Debian's npm, or what comes with Node"

mkdir -p "$folder"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$folder"
cd "$folder"
timeout 200 npm ci --prefer-offline --no-progress --loglevel=error </dev/null ||
  die "npm ci failed. The packages come from the npm registry once; without network these tests" \
    "cannot run (ctest -LE network leaves them out)"
cp package-lock.json "$installed"
