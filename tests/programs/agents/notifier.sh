#!/bin/bash
# An agent that knows systemd-notify only. $1: a file that ends it when it appears.
set -eu
systemd-notify --status="loading the model"
systemd-notify --ready
until [ -e "$1" ]; do
    systemd-notify WATCHDOG=1 STATUS="counting sheep"
    sleep 0.2
done
systemd-notify STOPPING=1
