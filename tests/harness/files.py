"""Files below a directory in which an engine is at work: what vanishes while we look is not there."""

import os
from pathlib import Path


def below(path):
    """Every file, link and directory below `path`. Not `rglob`, which fails when a directory goes between two looks."""
    for folder, folders, names in os.walk(path):
        yield from (Path(folder, name) for name in (*folders, *names))


def sizes(path):
    """Bytes of every regular file below `path`, by its path relative to that."""
    found = {}
    for file in below(path):
        if file.is_file() and not file.is_symlink():
            try:
                found[str(file.relative_to(path))] = file.lstat().st_size
            except FileNotFoundError:
                continue
    return found


def storage_size(path):
    """Bytes in regular files below `path`."""
    return sum(sizes(path).values())
