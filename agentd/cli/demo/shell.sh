#!/bin/sh
# An agent written as a shell script: it beats with `agentctl heartbeat`.
n=0
while :; do
    n=$((n + 1))
    "$AGENTCTL" heartbeat --status working --task "batch-$n" --tokens 120 --step copy
    sleep 3
done
