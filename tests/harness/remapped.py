"""A host on which `userns-remap=remapped` can work."""

FIRST, COUNT = 300000, 65536


def prepare(engine):
    """A user with subordinate ids, known to the engine's host alone."""
    etc = engine.sandbox.own_etc()
    for name, line in [("passwd", "remapped:x:7777:7777::/:/bin/false"), ("group", "remapped:x:7777:"),
                       ("subuid", f"remapped:{FIRST}:{COUNT}"), ("subgid", f"remapped:{FIRST}:{COUNT}")]:
        path = etc / name
        path.write_text((path.read_text() if path.exists() else "") + line + "\n")
    # As on a machine: others may pass.
    engine.dir.chmod(0o711)
