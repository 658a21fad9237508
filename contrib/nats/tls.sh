#!/bin/bash
# A certificate authority for one fleet, and a certificate for its NATS server.
#
#   contrib/nats/tls.sh DIR NAME...    NAME: what hosts call the server, names and addresses
#
# DIR/ca.pem goes to every host ([fleet] tls_ca); DIR/ca.key stays in a safe; server.pem and
# server.key to the server. Needs openssl. What is there stays: a second run makes a new
# server certificate only.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set -/p' "$0" | sed '$d;s/^# \{0,1\}//'; exit 2; }
mkdir -p "$1"; cd "$1"; shift
umask 077
names=()
for name in "$@"; do
    case $name in
    *[!0-9.]*) case $name in *:*) names+=("IP:$name");; *) names+=("DNS:$name");; esac;;
    *) names+=("IP:$name");;
    esac
done
[ -f ca.key ] || openssl ecparam -name prime256v1 -genkey -noout -out ca.key
[ -f ca.pem ] || openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/CN=agentd fleet" -out ca.pem \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
openssl ecparam -name prime256v1 -genkey -noout -out server.key
openssl req -new -key server.key -subj "/CN=$1" -out server.csr
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 -sha256 -out server.pem \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$(IFS=,; echo "${names[*]}")") 2>/dev/null
rm -f server.csr
chmod 644 ca.pem server.pem
echo "$PWD: ca.pem for the hosts, server.pem and server.key for the server, ca.key for the safe"
