#!/bin/bash
# An agent written as a shell script; $1 is agentctl.
set -eu
for batch in 1 2 3; do
    "$1" heartbeat --status working --task "batch-$batch" --step copy --tool rsync \
        --tokens 120 --cost-usd 0.002 --success --latency-ms 40 --progress "$batch/3"
done
"$1" heartbeat --status done
