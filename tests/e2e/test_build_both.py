"""The same builds by both engines: files, owners, modes, configuration and history must be the same."""

import tarfile

import pytest

from harness.build import context, described

BASE = "FROM busybox:e2e\n"
TREE = {
    "f": "file", "exe": {"data": "#!/bin/sh\n", "mode": 0o755}, "set": {"data": "x", "mode": 0o4711},
    "d/": None, "d/one": "1", "d/two": {"data": "2", "mode": 0o600, "uid": 3, "gid": 4}, "d/e/f/deep": "deep",
    "d/link": {"kind": tarfile.SYMTYPE, "link": "one"}, "d/dangling": {"kind": tarfile.SYMTYPE, "link": "/nope"},
    "to-dir": {"kind": tarfile.SYMTYPE, "link": "d"}, "to-file": {"kind": tarfile.SYMTYPE, "link": "f"},
    "a.txt": "a", "b.txt": "b", "we ird [x].txt": "w",
    "arch.tar": context({"in/side": {"data": "s", "mode": 0o640, "uid": 5, "gid": 6}, "top": "t"}),
}

BUILDS = {
    "copy a file": "COPY f /new\nCOPY f /dir/\nCOPY exe set /many/\n",
    "copy a directory": "COPY d /d\nCOPY d /d2/\nCOPY d/ .\n",
    "copy everything": "COPY . /all\n",
    "copy onto what is there": "COPY f /etc\nCOPY d /etc/\nRUN mkdir -m 700 /kept && chown 9:9 /kept\nCOPY d /kept/\n",
    "copy through links": "COPY to-file /x\nCOPY to-dir /y\nCOPY to-dir/one /z\nRUN ln -s /home /h && ln -s /etc/motd /m\n"
                          "COPY f /h/\nCOPY f /m\n",
    "copy by patterns": "COPY *.txt /p/\nCOPY d/[elot]* /q/\nCOPY ?.txt /r/\nCOPY [ab].txt /s/\n",
    "copy by json": 'COPY ["we ird [[]x].txt", "/w/"]\n',
    "copy with an owner": "COPY --chown=alice f /a\nCOPY --chown=7:8 d /b\nCOPY --chown=alice:staff f /made/dirs/c\n",
    "working directories": "WORKDIR /w/x\nCOPY f .\nCOPY f sub/\nWORKDIR y\nRUN pwd > where\nENV p=/v\nWORKDIR $p/z\n",
    "unpack": "ADD arch.tar /t\nADD arch.tar f /u/\nADD --chown=7:8 arch.tar /v\nADD d /dd\n",
    "run": "RUN echo a > /a && ln /a /b && ln -s a /c && mkfifo /p && mkdir -m 1777 /t && chown alice:staff /a\n"
           "RUN rm -r /home /etc/passwd\nRUN mkdir /home && touch /home/new\nRUN true\n",
    "run as others": "USER alice\nRUN id > /tmp/id && touch /tmp/mine\nUSER 0:50\nRUN id > /id\n",
    "volumes": "RUN mkdir /v && echo before > /v/before\nVOLUME /v\nRUN echo after > /v/after\n",
    "shells": 'SHELL ["/bin/sh", "-ec"]\nRUN echo "$0" > /zero\nCMD echo x\nENTRYPOINT ["e"]\n',
    "arguments": "ARG a=1\nARG b\nENV b=env\nRUN echo $a $b $http_proxy > /args\nLABEL a=$a b=${b:-none}\n",
    "a proxy": "RUN echo $http_proxy\nENV http_proxy=own\nRUN true\n",
    "commands": 'CMD ["a"]\nENTRYPOINT b\nHEALTHCHECK NONE\nEXPOSE 1-3 5/udp\nSTOPSIGNAL 9\nUSER bob\n',
    "the command of a base": 'CMD ["x"]\nLABEL q="a b" w=\'c d\' e=f\\ g\nENV one two three\n',
    "long lines": "RUN echo a && \\\n  # a comment\n\n  echo b > /b\nENV a=b \\\n    c=d\n",
    "health": "HEALTHCHECK --interval=1m30s --timeout=3s --start-period=500ms --retries=9 CMD [\"curl\", \"-f\"]\nONBUILD RUN a\n",
}


SETUID = "dockerd loses the bit: it gives the file its owner last"
ARCHIVE = "dockerd 20.10 ignores --chown for archives, newer ones do not"
# Files that differ, and why: these and no others.
EXPLAINED = {
    "copy a file": {"many/set": SETUID},
    "copy everything": {"all/set": SETUID},
    "unpack": {"v": ARCHIVE, "v/top": ARCHIVE, "v/in/side": ARCHIVE},
}


@pytest.mark.parametrize("name", BUILDS)
def test_the_same(engine, reference, name):
    query = {"arguments": {"buildargs": {"a": "2", "http_proxy": "p"}}, "a proxy": {"buildargs": {"http_proxy": "p"}}}.get(name, {})
    theirs = described(reference, TREE, BASE + BUILDS[name], **query)
    ours = described(engine, TREE, BASE + BUILDS[name], **query)
    differing = {path for path in ours[0].keys() | theirs[0].keys() if ours[0].get(path) != theirs[0].get(path)}
    # With the reference as the engine it is compared with itself.
    assert differing == (set() if engine.is_reference else set(EXPLAINED.get(name, {})))
    for what, a, b in zip(("configuration", "history", "layers", "author"), ours[1:], theirs[1:]):
        assert a == b, what
    reference.recorder.drain()
