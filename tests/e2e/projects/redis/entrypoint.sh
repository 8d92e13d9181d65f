#!/bin/sh
set -e
# As root only as long as it takes to own the data.
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    chown -R redis:redis .
    exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@" --port "$REDIS_PORT" --protected-mode no --appendonly yes
fi
exec "$@"
