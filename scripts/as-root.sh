#!/bin/sh
# Runs a command as root: an engine needs that.
set -eu
if [ "$(id -u)" -eq 0 ]; then
    exec "$@"
fi
command -v sudo >/dev/null || { echo "this needs root, and there is no sudo: run it as root" >&2; exit 1; }
exec sudo --preserve-env=PATH "$@"
