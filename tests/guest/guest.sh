#!/bin/bash
# guest.sh - a throw-away Debian 12 guest with real systemd as PID 1, cgroup v2
# (memory, cpu, io, pids controllers), kernel 6.1, Python 3.11; boots in seconds
# under qemu's software emulation (no KVM needed), runs one script as root
# against a copy of a project folder, and exits with that script's exit code.
#
#   guest.sh build DIR [--apt "PKG,PKG"] [--pip "PKG PKG"] [--deps]
#       make DIR/{vmlinuz,initrd,root.ext4} (about 1 minute, about 0.6 GB).
#       --apt: more Debian packages inside; --pip: Python packages inside;
#       --deps: first apt-get install what this script needs on the host.
#   guest.sh run DIR PROJECT SCRIPT [ARG...]
#       boot a fresh copy of the guest, unpack PROJECT at /project there, run
#       SCRIPT (a path inside PROJECT, else a file of the host) with bash or by
#       its #! line, cwd /project, as a systemd service's process; stream its
#       stdout+stderr here; exit with its code. What it leaves in $LAB_OUT
#       comes back in DIR/runs/RUN/out (path printed on stderr).
#       Exit 124: past LAB_TIMEOUT. Exit 125: the guest ended without a code.
#   guest.sh newer DIR      make DIR/newer/{vmlinuz,initrd}: the newest kernel that the mirror has for
#       Debian 13 (30 MB), for the same root.ext4. Exit 3: it has none.
#   guest.sh time DIR       boot, run `true`, print the times
#
# Environment of run: LAB_TIMEOUT (seconds, 300), LAB_MEM (MiB, 1024), LAB_CPUS (2),
#   LAB_EXCLUDE (tar --exclude patterns, space-separated; default: .git .venv .lab
#   and caches), LAB_KEEP=1 keeps DIR/runs/RUN, LAB_APPEND (more
#   kernel command line), LAB_QUIET=1: no line of our own on stderr.
#   LAB_KERNEL=newer: boot that one.
#   LAB_ENV: names of variables of this shell to set inside the guest too.
#   LAB_REBOOT=1: the guest may reboot; SCRIPT is then run again from its start, on the same disk
#   (what it keeps in /lab/out tells it so). Without it, a reboot is the end.
# Several runs may share one DIR at the same time: the image is only read.
# Guest facts for the script: no network but lo; systemctl, systemd-run,
#   journalctl, busctl work; cgroup v2 at /sys/fs/cgroup; kernel log: dmesg;
#   emulated CPU: expect Python to run several times slower than on the host.
set -euo pipefail
SUITE=bookworm
NEWER=trixie-backports
PKGS=systemd,systemd-sysv,dbus,python3,python3-venv,iproute2,procps,kmod,udev,ca-certificates,util-linux,openssl

die() { echo "guest.sh: $*" >&2; exit 125; }
none() { echo "guest.sh: newer: $*" >&2; exit 3; }
say() { [ -n "${LAB_QUIET:-}" ] || echo "guest.sh: $*" >&2; }

# Where the kernel's modules are in what was unpacked: /lib, or /usr/lib since Debian 13.
modules_of() { dirname "$(find "$1/k" -path '*/modules/*/kernel' -type d | head -1)"; }

# boot_files W DIR: from the packages in W, unpacked and never installed on the host, DIR/{vmlinuz,initrd}
boot_files() {
    local w=$1 dir=$2 one; mkdir -p "$w"/k "$w"/ird/{bin,mod,new,dev,proc} "$dir"
    for one in "$w"/*.deb; do dpkg -x "$one" "$w/k"; done
    cp "$(find "$w/k" -name 'vmlinuz*' -type f | head -1)" "$dir/vmlinuz"
    # initrd: busybox + the few modules that the root disk needs, where they are modules
    local busybox; busybox=$(find "$w/k" -path '*bin/busybox' | head -1); cp "$busybox" "$w/ird/bin/"
    local m at; at=$(modules_of "$w")
    for m in drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_legacy_dev \
             drivers/virtio/virtio_pci_modern_dev drivers/virtio/virtio_pci drivers/block/virtio_blk drivers/char/virtio_console; do
        for one in "$at/kernel/$m".ko*; do
            [ -e "$one" ] || continue  # built into the kernel
            case $one in
                *.ko) cp "$one" "$w/ird/mod/";;
                *.ko.xz) "$busybox" xzcat "$one" > "$w/ird/mod/$(basename "$one" .xz)";;
                *) die "can't unpack $one";;
            esac
        done
    done
    cat > "$w/ird/init" <<'I'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk virtio_console; do
    [ ! -f /mod/$m.ko ] || $b insmod /mod/$m.ko; done
i=0; while [ ! -b /dev/vda ] && [ $i -lt 100 ]; do $b usleep 20000; i=$((i+1)); done
$b mount -t ext4 -o rw,noatime,nobarrier /dev/vda /new || $b reboot -f
$b mount --move /dev /new/dev
exec $b switch_root /new /sbin/init
I
    chmod +x "$w/ird/init"
    (cd "$w/ird" && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1) > "$dir/initrd"
}

cmd_newer() {
    local dir=${1:?DIR}; mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
    local w="$dir/build-newer"; rm -rf "$w"; mkdir -p "$w/lists/partial" "$w/cache"
    local mirror; mirror=$(apt-get indextargets --format '$(REPO_URI)' "Origin: Debian" "Codename: $SUITE" | sed -n 1p)
    [ -n "$mirror" ] || none "no mirror of $SUITE known (apt-get update?)"
    echo "deb $mirror $NEWER main" > "$w/list"
    # apt with this one source, and with places of its own
    local own=(-qq -o Dir::Etc::SourceList="$w/list" -o Dir::Etc::SourceParts=- -o Dir::Cache="$w/cache"
               -o Dir::State::Lists="$w/lists" -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any)
    apt-get "${own[@]}" update || none "$NEWER is not to be had from the mirror"
    # one package, or since 7.x one each for the kernel and its modules
    local kpkgs; kpkgs=$({ apt-cache "${own[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts \
        --no-breaks --no-replaces --no-enhances linux-image-cloud-amd64 | grep -xE 'linux-(image|binary|modules)-[0-9].*cloud-amd64' || :; } | sort -u)
    [ -n "$kpkgs" ] || none "$NEWER has no kernel"
    (cd "$w" && apt-get "${own[@]}" download $kpkgs && apt-get -qq -o APT::Sandbox::User=root download busybox-static) \
        || none "the packages of $NEWER could not be fetched"
    boot_files "$w" "$w/new"
    local kv; kv=$(basename "$(modules_of "$w")")
    mkdir -p "$dir/newer"; mv -f "$w"/new/{vmlinuz,initrd} "$dir/newer/"; rm -rf "$w"
    say "kernel $kv in $dir/newer"
}

cmd_build() {
    local dir=${1:?DIR}; shift
    local apt_more= pip_more= deps=
    while [ $# -gt 0 ]; do case $1 in
        --apt) apt_more=$2; shift 2;; --pip) pip_more=$2; shift 2;; --deps) deps=1; shift;;
        *) die "build: unknown $1";; esac; done
    if [ -n "$deps" ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            qemu-system-x86 mmdebstrap e2fsprogs
    fi
    for t in qemu-system-x86_64 mmdebstrap mke2fs; do command -v $t >/dev/null || die "no $t (build --deps)"; done
    mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
    local w="$dir/build"; rm -rf "$w"; mkdir -p "$w"

    # (linux-image-cloud-amd64 depends on the package of the current version)
    local kpkg; kpkg=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\)/\1/p' | head -1)
    [ -n "$kpkg" ] || die "no kernel package known (apt-get update?)"
    (cd "$w" && apt-get -qq -o APT::Sandbox::User=root download "$kpkg" busybox-static)
    boot_files "$w" "$dir"
    local modules; modules=$(modules_of "$w"); local kv; kv=$(basename "$modules")

    # root file system
    mmdebstrap --quiet --variant=minbase --skip=cleanup/apt/lists \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --include="$PKGS${apt_more:+,$apt_more}" $SUITE "$w/root.tar" \
        > "$w/mmdebstrap.log" 2>&1 || { tail -5 "$w/mmdebstrap.log" >&2; die "mmdebstrap failed"; }
    mkdir "$w/root"; tar -C "$w/root" --exclude=./dev/* --exclude=./var/lib/apt/lists/* -xf "$w/root.tar"; rm "$w/root.tar"
    local r="$w/root"
    rm -f "$r"/etc/apt/sources.list "$r"/etc/apt/apt.conf.d/*   # the guest needs no package sources
    mkdir -p "$r/lib/modules/$kv"
    for m in kernel/drivers/virtio kernel/drivers/net/veth.ko kernel/drivers/net/dummy.ko kernel/fs/overlayfs \
             kernel/net/bridge kernel/net/802 kernel/net/llc kernel/drivers/char/virtio_console.ko; do
        [ -e "$modules/$m" ] || continue
        mkdir -p "$r/lib/modules/$kv/$(dirname $m)"; cp -a "$modules/$m" "$r/lib/modules/$kv/$m"
    done
    cp "$modules"/modules.{builtin,order}* "$r/lib/modules/$kv/" 2>/dev/null || :
    chroot "$r" depmod "$kv" 2>/dev/null || :
    echo guest > "$r/etc/hostname"; printf '127.0.0.1 localhost guest\n::1 localhost\n' > "$r/etc/hosts"
    echo "0123456789abcdef0123456789abcdef" > "$r/etc/machine-id"
    : > "$r/etc/fstab"
    mkdir -p "$r/lab" "$r/project" "$r/var/log/journal"
    if [ -n "$pip_more" ]; then
        # the host's pip resolves for the guest's Python 3.11; pure or cp311 wheels
        python3 -m pip install -q --no-warn-script-location --python-version 3.11 --only-binary=:all: \
            --target "$r/usr/local/lib/python3.11/dist-packages" $pip_more
        # console scripts land in .../bin of the target
        if [ -d "$r/usr/local/lib/python3.11/dist-packages/bin" ]; then
            for m in "$r"/usr/local/lib/python3.11/dist-packages/bin/*; do
                sed -i '1s|^#!.*python.*|#!/usr/bin/python3|' "$m"; cp -a "$m" "$r/usr/local/bin/"; done
        fi
    fi
    # the unit that runs the script; it is an ordinary service of multi-user.target
    cat > "$r/etc/systemd/system/lab-run.service" <<'I'
[Unit]
Description=the lab's script
After=basic.target dbus.service
[Service]
Type=exec
ExecStart=/lab/run
KillMode=process
TimeoutStopSec=5
OOMPolicy=continue
[Install]
WantedBy=multi-user.target
I
    cat > "$r/lab/run" <<'I'
#!/bin/bash
# unpack the input disk, run the script, put the result on the output disk
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
for i in $(seq 200); do set -- /dev/vport*p1; [ -e "$1" ] && break; sleep 0.05; done; port=$1
mkdir -p /lab/out; export LAB_OUT=/lab/out LAB_GUEST=1
tar -xf /dev/vdb -C / 2>/lab/unpack.err
. /lab/in/env
echo "up=$(cut -d' ' -f1 /proc/uptime)" > /lab/result
cd /project
{ if [ -x "$LAB_SCRIPT" ]; then "$LAB_SCRIPT" "${LAB_ARGS[@]}"; else bash "$LAB_SCRIPT" "${LAB_ARGS[@]}"; fi; } </dev/null 2>&1 | cat > "$port"
rc=${PIPESTATUS[0]}
{ echo "rc=$rc"; echo "end=$(cut -d' ' -f1 /proc/uptime)"; } >> /lab/result
journalctl -b --no-pager -o short-monotonic > /lab/journal.txt 2>/dev/null
tar -C /lab -cf /dev/vdc result journal.txt out; sync
[ -n "${LAB_REBOOT:-}" ] && echo o > /proc/sysrq-trigger || echo b > /proc/sysrq-trigger      # -no-reboot: qemu ends here
I
    chmod +x "$r/lab/run"
    chroot "$r" systemctl -q enable lab-run.service 2>/dev/null
    # what a test guest never needs; udevd, journald, logind-less dbus stay
    for m in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
             e2scrub_reap.service systemd-timesyncd.service systemd-networkd.service getty@tty1.service \
             serial-getty@ttyS0.service console-getty.service systemd-update-utmp.service \
             systemd-update-utmp-runlevel.service systemd-random-seed.service systemd-pstore.service \
             systemd-udev-settle.service systemd-hwdb-update.service ldconfig.service \
             systemd-logind.service getty.target systemd-binfmt.service redis-server.service; do
        ln -sf /dev/null "$r/etc/systemd/system/$m"; done
    ln -sf /usr/lib/systemd/system/multi-user.target "$r/etc/systemd/system/default.target"
    mkdir -p "$r/etc/systemd/journald.conf.d"; printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' > "$r/etc/systemd/journald.conf.d/lab.conf"
    rm -f "$dir/root.ext4"
    mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -m 0 -N 80000 -d "$r" "$dir/root.ext4" 1500M
    rm -rf "$w"
    say "built $dir: $(du -sh "$dir" | cut -f1), kernel $kv"
}

cmd_run() {
    local dir=${1:?DIR} proj=${2:?PROJECT} script=${3:?SCRIPT}; shift 3
    [ -f "$dir/root.ext4" ] || die "$dir holds no guest (guest.sh build $dir)"
    dir=$(cd "$dir" && pwd); proj=$(cd "$proj" && pwd)
    local boot="$dir${LAB_KERNEL:+/$LAB_KERNEL}"
    [ -f "$boot/vmlinuz" ] || die "$boot holds no kernel (guest.sh newer $dir)"
    mkdir -p "$dir/runs"; local run; run=$(mktemp -d "$dir/runs/$(date +%H%M%S)-XXXX")
    mkdir -p "$run/in/lab/in"
    local gs=/project/$script
    if [ ! -f "$proj/$script" ]; then
        [ -f "$script" ] || die "no script $script"
        cp -p "$script" "$run/in/lab/in/script"; gs=/lab/in/script
    fi
    { printf 'LAB_SCRIPT=%q\nLAB_ARGS=(' "$gs"; [ $# -eq 0 ] || printf '%q ' "$@"; printf ')\n'
      local v; for v in ${LAB_ENV:-}; do printf 'export %s=%q\n' "$v" "${!v-}"; done
      [ -z "${LAB_REBOOT:-}" ] || printf 'export LAB_REBOOT=1\n'
      printf 'date -s @%s >/dev/null 2>&1\n' "$(date +%s)"; } > "$run/in/lab/in/env"
    local ex=() p; for p in ${LAB_EXCLUDE-.git .venv .bench-venv .bench-node .lab .fuzz .soak .mypy_cache .ruff_cache .pytest_cache .hypothesis __pycache__}; do ex+=(--exclude="$p"); done
    tar -C "$run/in" -cf "$run/in.tar" lab
    tar -C "$proj" "${ex[@]}" --transform='s|^\.|project|' --owner=0 --group=0 -rf "$run/in.tar" .
    truncate -s %1M "$run/in.tar"; rm -rf "$run/in"
    truncate -s 256M "$run/out.img"
    # qemu's stdin must never reach end of file, or it shuts the port that carries the output
    mkfifo "$run/stdin"; exec 9<>"$run/stdin"
    local t0 rc=0; t0=$(date +%s.%N); set +e
    timeout -k 5 "${LAB_TIMEOUT:-300}" qemu-system-x86_64 \
        -M q35 -accel tcg,thread=multi,tb-size=256 -cpu max -smp "${LAB_CPUS:-2}" -m "${LAB_MEM:-1024}" \
        -nodefaults -no-user-config $([ -n "${LAB_REBOOT:-}" ] || echo -no-reboot) -display none -serial "file:$run/console.log" \
        -kernel "$boot/vmlinuz" -initrd "$boot/initrd" \
        -append "console=ttyS0 quiet loglevel=4 panic=-1 reboot=t mitigations=off nokaslr audit=0 random.trust_cpu=on systemd.show_status=0 systemd.unified_cgroup_hierarchy=1 net.ifnames=0 ${LAB_APPEND:-}" \
        -drive "file=$dir/root.ext4,format=raw,if=none,id=r,snapshot=on,cache=unsafe" -device virtio-blk-pci,drive=r \
        -drive "file=$run/in.tar,format=raw,if=none,id=i,readonly=on" -device virtio-blk-pci,drive=i \
        -drive "file=$run/out.img,format=raw,if=none,id=o,cache=unsafe" -device virtio-blk-pci,drive=o \
        -device virtio-serial-pci -chardev stdio,id=c,signal=off -device virtserialport,chardev=c,name=lab \
        <&9 9<&- | cat
    rc=${PIPESTATUS[0]}; set -e; exec 9<&-; rm -f "$run/stdin"
    local t1; t1=$(date +%s.%N)
    [ $rc -ne 124 ] && [ $rc -ne 137 ] || { say "timed out; console: $run/console.log"; exit 124; }
    tar -C "$run" -xf "$run/out.img" 2>/dev/null || :
    [ -f "$run/result" ] || { tail -20 "$run/console.log" >&2; die "no result; console: $run/console.log"; }
    rm -f "$run/out.img" "$run/in.tar"
    local up= end= ; . "$run/result"
    say "exit $rc; script began ${up}s after the kernel, ran $(awk "BEGIN{printf \"%.1f\", $end-$up}")s; whole call $(awk "BEGIN{printf \"%.1f\", $t1-$t0}")s; journal, console, out: $run"
    if [ -z "${LAB_KEEP:-}" ] && [ -z "$(ls -A "$run/out")" ] && [ "$rc" = 0 ]; then rm -rf "$run"; fi
    exit "$rc"
}

case ${1:-} in
    build) shift; cmd_build "$@";;
    newer) shift; cmd_newer "$@";;
    run) shift; cmd_run "$@";;
    time) e=$(mktemp -d); printf 'uname -r; systemctl --version | head -1; systemd-analyze; systemctl is-system-running\ntrue\n' > "$e/t"; LAB_TIMEOUT=${LAB_TIMEOUT:-120} bash "$0" run "$2" "$e" t; rm -rf "$e";;
    *) sed -n '2,/^set -/p' "$0" | sed '$d;s/^# \{0,1\}//'; exit 2;;
esac
