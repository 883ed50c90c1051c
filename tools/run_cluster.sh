#!/usr/bin/env bash
# What `./dev run` does once everything is built: a cluster on this machine, one request through its
# gateway, its status, and the end of all processes.
#
# usage: tools/run_cluster.sh [--model DIR] [FLAGS of `conclave generate`]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly conclave=build/release/bin/conclave

stop_cluster() {
  if kill -0 "$cluster_pid" 2>/dev/null; then
    kill -INT "$cluster_pid"
    wait "$cluster_pid" || true
  fi
  rm -rf "$dir"
}

# What the flags leave open is the bundled model and a prompt for it.
model=models/bard
prompt=(--prompt "To be, or not to be")
seed=(--seed 7)
flags=()
while (($# > 0)); do
  case $1 in
    --model=*) model=${1#*=} ;;
    --model)
      model=${2:?--model needs a folder}
      shift
      ;;
    *) flags+=("$1") ;;
  esac
  case $1 in
    --prompt | --prompt=* | --prompt-file | --prompt-file=* | --ids | --ids=*) prompt=() ;;
    --seed | --seed=*) seed=() ;;
  esac
  shift
done

dir=$(mktemp -d)
state=$dir/state.json
"$conclave" up --model "$model" --attention-nodes 1 --expert-servers 2 --state "$state" &
cluster_pid=$!
trap stop_cluster EXIT
until [[ -f $state ]]; do
  if ! kill -0 "$cluster_pid" 2>/dev/null; then
    echo "run_cluster: the cluster did not come up" >&2
    exit 1
  fi
  sleep 0.1
done

gateway=$(python3 tools/cluster_state.py "$state" gateway address)
arguments=(--server "$gateway" "${prompt[@]}" "${seed[@]}" "${flags[@]}")
echo "$ $conclave generate$(printf ' %q' "${arguments[@]}")" >&2
"$conclave" generate "${arguments[@]}"
echo "$ $conclave status --server $gateway" >&2
"$conclave" status --server "$gateway" >&2
