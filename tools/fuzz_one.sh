#!/usr/bin/env bash
# tools/fuzz_one.sh BINARY SECONDS: runs one fuzz target on a copy of the seeds, so that its finds
# do not grow the tree.
set -euo pipefail

binary=$1 seconds=$2 artifacts=build/fuzz/artifacts status=0
name=$(basename "$binary" _fuzz)
corpus=$(mktemp -d)
mkdir -p "$artifacts"
if [[ -d fuzz/corpus/$name ]]; then cp -r "fuzz/corpus/$name/." "$corpus"; fi
echo "== $name: ${seconds} s from $(find "$corpus" -type f | wc -l) seeds"
"$binary" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
  -print_final_stats=1 -verbosity=0 -artifact_prefix="$artifacts/$name-" "$corpus" || status=$?
rm -rf "$corpus"
((status == 0)) || echo "== $name FAILED; inputs: $(echo "$artifacts/$name"-*)" >&2
exit "$status"
