#!/bin/bash
# Test hosts on one machine: network namespaces on a private bridge that lives in a namespace of
# its own, so nothing of the machine's own network is touched.
#
#   netns_hosts.sh up DIR [N]     make N (4) hosts with the addresses 10.77.0.1 .. 10.77.0.N
#   netns_hosts.sh path DIR I     print the namespace of host I, a file to enter by setns(2)
#   netns_hosts.sh cut DIR I      take host I off the network; "join" puts it back
#   netns_hosts.sh down DIR       end what still runs in the hosts, and remove them all
#
# What is cut off is not told: packets vanish, as with a cable that was pulled. Needs root and
# iproute2. Loopback is up in each host; there is no way out of the bridge.
set -euo pipefail
die() { echo "netns_hosts.sh: $*" >&2; exit 1; }
verb=${1:-}
[ -n "$verb" ] && [ -n "${2:-}" ] || { sed -n '2,/^set -/p' "$0" | sed '$d;s/^# \{0,1\}//'; exit 2; }
DIR=$(cd "$2" && pwd); shift 2
P="agentd$(printf %s "$DIR" | cksum | cut -d' ' -f1)"       # so two DIRs do not clash
count() { cat "$DIR/count" 2>/dev/null || echo 0; }
case $verb in
up) n=${1:-4}; [ "$(count)" = 0 ] || die "already up"
    echo "$n" > "$DIR/count"
    ip netns add "$P-sw"; ip -n "$P-sw" link add br0 type bridge; ip -n "$P-sw" link set br0 up
    for i in $(seq "$n"); do
        ip netns add "$P-$i"
        ip -n "$P-sw" link add "v$i" type veth peer name eth0 netns "$P-$i"
        ip -n "$P-sw" link set "v$i" master br0 up
        ip -n "$P-$i" addr add "10.77.0.$i/24" dev eth0
        ip -n "$P-$i" link set eth0 up; ip -n "$P-$i" link set lo up
    done;;
path) echo "/run/netns/$P-$1";;
cut) ip -n "$P-sw" link set "v$1" nomaster;;
join) ip -n "$P-sw" link set "v$1" master br0;;
down) for i in $(seq "$(count)"); do
        for p in $(ip netns pids "$P-$i" 2>/dev/null); do kill -9 "$p" 2>/dev/null || :; done
        ip netns del "$P-$i" 2>/dev/null || :; done
    ip netns del "$P-sw" 2>/dev/null || :; rm -f "$DIR/count";;
*) die "unknown: $verb";;
esac
