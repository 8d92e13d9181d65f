#!/bin/sh
# Starts an engine of its own and walks through the API with curl, printing each call and its answer.
# Usage: demo.sh start|stop   (as root; `make run` and `make stop` do it)
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
root=/var/lib/gantry-demo
run=/run/gantry-demo
socket=$run/gantry.sock
pidfile=$run/gantry.pid
log=$run/gantry.log

bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# Ends the demo's engine and its containers and removes every trace of both.
stop() {
    if [ -S "$socket" ] && curl -sf --unix-socket "$socket" http://localhost/_ping >/dev/null 2>&1; then
        for id in $(curl -s --unix-socket "$socket" 'http://localhost/containers/json?all=true' |
            grep -o '"Id":"[0-9a-f]\{64\}"' | cut -d'"' -f4); do
            curl -s --unix-socket "$socket" -X DELETE "http://localhost/containers/$id?force=true&v=true" >/dev/null
        done
    fi
    if [ -f "$pidfile" ]; then
        pid=$(cat "$pidfile")
        kill "$pid" 2>/dev/null || true
        # The pid file goes when the engine does.
        for _ in $(seq 100); do [ -e "/proc/$pid" ] || break; sleep 0.1; done
    fi
    for cgroup in /sys/fs/cgroup/gantry-demo /sys/fs/cgroup/*/gantry-demo; do
        [ ! -d "$cgroup" ] || rmdir "$cgroup" || true
    done
    rm -rf "$root" "$run"
}

# call CURL-ARGUMENTS: prints the command and what it answers.
call() {
    printf '\n\033[36m$ curl --unix-socket %s' "$socket"
    for word; do
        case $word in
        *[!A-Za-z0-9:/._=@-]*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\033[0m\n'
    answer=$run/answer
    said=$(curl -sS --globoff --unix-socket "$socket" -o "$answer" -w '%{http_code} %{content_type}' "$@")
    status=${said%% *} type=${said#* }
    # Long answers are cut, archives are only measured; nothing else is changed.
    bytes=$(wc -c <"$answer")
    case $type in
    application/x-tar) printf '(an archive of %s bytes)' "$bytes" ;;
    *)
        head -c 1500 "$answer"
        [ "$bytes" -le 1500 ] || printf ' ... (%s bytes)' "$bytes"
        ;;
    esac
    printf '\n\033[2mHTTP %s\033[0m\n' "$status"
    case $status in 2* | 304) ;; *) echo "this call failed; the engine's log is $log" >&2; exit 1 ;; esac
}

# A root file system from Debian's busybox, as a tar.
root_file_system() {
    tree=$run/rootfs
    mkdir -p "$tree/bin" "$tree/etc" "$tree/tmp" "$tree/root"
    cp /bin/busybox "$tree/bin/busybox"
    for applet in $(/bin/busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
    echo 'root:x:0:' >"$tree/etc/group"
    tar -C "$tree" -cf "$run/hello.tar" .
    rm -rf "$tree"
}

# field NAME: the value of a text field of the last answer.
field() { grep -o "\"$1\":\"[^\"]*\"" "$run/answer" | head -n 1 | cut -d'"' -f4; }

start() {
    stop
    mkdir -p "$root" "$run"
    bold "An engine of its own: state in $root, socket $socket, log $log"
    "$here/dist/gantry" daemon --data-root "$root" --exec-root "$run/exec" --pidfile "$pidfile" \
        --cgroup-parent /gantry-demo --config-file /dev/null --host "unix://$socket" </dev/null >"$log" 2>&1 &
    engine=$!
    curl -s --retry 100 --retry-delay 0 --retry-max-time 20 --retry-all-errors --unix-socket "$socket" \
        http://localhost/_ping >/dev/null 2>&1 || true
    kill -0 "$engine" 2>/dev/null || { cat "$log" >&2; exit 1; }
    root_file_system
    cd "$run"

    bold "Images"
    call -X GET http://v1.35/images/json
    call -H 'Content-Type: application/tar' -X POST --data-binary @hello.tar \
        'http://v1.35/images/create?fromSrc=-&tag=hello:latest'
    call -X GET http://v1.35/images/json
    call -X POST 'http://v1.35/images/hello/tag?tag=zqq01&repo=test'
    call -X GET http://v1.35/images/hello/get
    mv answer saved.tar
    call --data-binary @saved.tar -H 'Content-Type: application/tar' -X POST http://v1.35/images/load

    bold "Containers"
    call -H 'Content-Type: application/json' --data '{"Image": "hello", "Cmd": ["sleep", "1000000"]}' \
        -X POST 'http://v1.35/containers/create?name=curl'
    id=$(field Id)
    call -X GET 'http://v1.35/containers/json?all=true&filters={"id":["'"$id"'"]}'
    call -H 'Content-Type: application/json' -X POST "http://v1.35/containers/$id/start"
    call -X GET http://v1.35/containers/json
    call -X GET "http://v1.35/containers/$id/json"
    call -H 'Content-Type: application/json' -X POST "http://v1.35/containers/$id/rename?name=curl_new"

    bold "Exec"
    call -H 'Content-Type: application/json' --data '{"Cmd":["date"],"AttachStdout":true}' \
        -X POST "http://v1.35/containers/curl_new/exec"
    exec=$(field Id)
    call -H 'Content-Type: application/json' --data '{"Detach":false,"Tty":true}' -X POST "http://v1.35/exec/$exec/start"

    bold "The engine goes on running (pid $engine). With the docker command:"
    echo "    export DOCKER_HOST=unix://$socket"
    echo "    docker ps"
    echo "    docker run --rm hello echo it works"
    echo "'make stop' ends it and removes $root."
}

case "${1:-}" in
start) start ;;
stop) stop ;;
*) echo "usage: $0 start|stop" >&2; exit 2 ;;
esac
