#!/bin/sh
# Installs what a task needs and this machine (Debian or Ubuntu, with Rust) does not have.
# Usage: setup.sh build|run|test|python|node|bench
set -eu

here=$(dirname "$0")
packages=

# need COMMAND PACKAGE: remembers the package if the command is not there.
need() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 || packages="$packages $2"
}

# need_package PACKAGE: the same for what is no command.
need_package() {
    dpkg-query --show --showformat='${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || packages="$packages $1"
}

install_packages() {
    [ -n "$packages" ] || return 0
    echo "installing:$packages"
    command -v apt-get >/dev/null || { echo "no apt-get here; install these yourself:$packages" >&2; exit 1; }
    export DEBIAN_FRONTEND=noninteractive
    "$here/as-root.sh" apt-get update --quiet=2
    # What is installed is for tests; no daemon of it is to run beside ours.
    # shellcheck disable=SC2086 # a list of words
    "$here/as-root.sh" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install --quiet=2 --yes --no-install-recommends $packages </dev/null >/dev/null
}

rust() {
    command -v cargo >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2; exit 1; }
    target=x86_64-unknown-linux-musl
    sysroot=$(rustc --print sysroot)
    if [ ! -d "$sysroot/lib/rustlib/$target" ]; then
        command -v rustup >/dev/null || { echo "the Rust target $target is missing, and so is rustup" >&2; exit 1; }
        rustup target add "$target"
    fi
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
}

case "${1:-}" in
build)
    rust
    need gcc gcc
    need musl-gcc musl-tools
    ;;
run)
    need curl curl
    need_package busybox-static
    ;;
python)
    need python3 python3
    need_package python3-venv
    ;;
node)
    need node nodejs
    need npm npm
    ;;
test)
    need curl curl
    need gcc gcc
    need ip iproute2
    need nft nftables
    need iptables iptables
    need dig bind9-dnsutils
    need dockerd docker.io
    need docker-compose docker-compose
    need runc runc
    need crun crun
    need mmdebstrap mmdebstrap
    need openssl openssl
    need rsyslogd rsyslog
    need hostname hostname
    need docker-registry docker-registry
    need skopeo skopeo
    need buildah buildah
    need podman podman
    need bsdtar libarchive-tools
    need umoci umoci
    need ps procps
    need xz xz-utils
    need zstd zstd
    need git git
    need bzip2 bzip2
    need_package busybox-static
    ;;
bench)
    need python3 python3
    need dockerd docker.io
    need runc runc
    need crun crun
    need curl curl
    need docker-registry docker-registry
    need podman podman
    need skopeo skopeo
    need ip iproute2
    need iperf3 iperf3
    need_package busybox-static
    ;;
*)
    echo "usage: $0 build|run|test|python|node|bench" >&2
    exit 2
    ;;
esac
install_packages
