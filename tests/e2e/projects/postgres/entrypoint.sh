#!/bin/bash
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username=postgres --auth-host=trust --no-sync >/dev/null
    echo "host all all all trust" >> "$PGDATA/pg_hba.conf"
    for file in /docker-entrypoint-initdb.d/*.sql; do
        postgres --single -j -E postgres < "$file" >/dev/null
    done
fi
exec "$@" -c listen_addresses='*' -c fsync=off
