"""`POST /build`: the call and its stream, the context, the cache, and what images say of themselves."""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import socket
import subprocess
import time

import docker as sdk
import pytest

from harness.build import build, config, context, document, history, walk
from harness.engine import wait_until
from harness.http import Client
from harness.images import zstd
from harness.sandbox import die_with_parent
from harness.servers import Server, status

BASE = "FROM busybox:e2e\n"


def test_the_stream(engine):
    built = build(engine, {}, BASE + "ENV a=b\nRUN echo out; echo err >&2\n", t="made:1")
    assert built.steps == ["FROM busybox:e2e", "ENV a=b", "RUN echo out; echo err >&2"]
    ids = re.findall(r"^ ---> ([0-9a-f]{12})$", built.text, re.M)
    assert len(ids) == 3 and built.id.startswith(f"sha256:{ids[-1]}")
    running = re.findall(r"^ ---> Running in ([0-9a-f]{12})$", built.text, re.M)
    removed = re.findall(r"Removing intermediate container ([0-9a-f]{12})$", built.text, re.M)
    assert running and running == removed
    assert "out\n" in built.text and "\x1b[91merr\n\x1b[0m" in built.text
    assert built.text.endswith(f"Successfully built {ids[-1]}\nSuccessfully tagged made:1\n")
    assert engine.api.get("/images/made:1/json", expect=200).json["Id"] == built.id
    assert engine.api.get("/containers/json", all=True).json == []


def test_every_version(engine, version):
    built = build(engine, {}, BASE + f"LABEL v={version}", api=Client(engine.socket, version, engine.recorder), t=f"v:{version}")
    assert config(engine, built.id)["Labels"] == {"v": version}


def test_several_names(engine):
    built = build(engine, {}, BASE + "LABEL a=b", t=["one", "two:x", "one:latest"])
    assert sorted(engine.api.get(f"/images/{built.id}/json").json["RepoTags"]) == ["one:latest", "two:x"]


def test_quiet(engine):
    built = build(engine, {}, BASE + "RUN echo noise", q=True)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", built.text)
    failed = build(engine, {}, BASE + "RUN echo noise; exit 3", q=True, check=False)
    assert failed.code == 3 and "noise" in failed.text


def test_a_command_that_fails(engine):
    built = build(engine, {}, BASE + "RUN exit 7\nRUN never", check=False, t="never", forcerm=True)
    assert built.status == 200
    assert (built.error, built.code) == ("The command '/bin/sh -c exit 7' returned a non-zero code: 7", 7)
    assert "never" not in " ".join(built.steps) and not built.id
    engine.api.get("/images/never/json", expect=404)
    assert engine.api.get("/containers/json", all=True).json == []


def test_a_program_that_is_not_there(engine):
    built = build(engine, {}, BASE + 'RUN ["/nope"]', check=False, forcerm=True)
    assert "/nope" in built.error and "no such file" in built.error


@pytest.mark.parametrize("dockerfile, message", [
    ("FORM x", "unknown instruction: FORM"),
    (BASE + "RUN", "RUN requires at least one argument"),
    (BASE + "COPY a", "COPY requires at least two arguments"),
    ("RUN x", "no build stage in current context"),
    (BASE + "ENV a", "ENV must have two arguments"),
])
def test_mistakes_in_the_file(engine, dockerfile, message):
    built = build(engine, {}, dockerfile, check=False)
    if engine.is_reference and dockerfile.endswith("RUN"):
        assert built.code == 2  # a shell without a command; newer engines refuse it
        return
    assert built.status == 400 and message.lower() in built.error.lower()
    if not engine.is_reference:
        last = dockerfile.splitlines()[-1]
        assert message == "no build stage in current context" or f"Dockerfile:{dockerfile.count(chr(10)) + 1}: {last}" in built.error


def test_no_dockerfile(engine):
    built = build(engine, {"a": "x"}, check=False)
    assert built.status in (400, 500) and "Cannot locate specified Dockerfile: Dockerfile" in built.error
    built = build(engine, {"Dockerfile": ""}, check=False)
    assert "cannot be empty" in built.error


@pytest.mark.parametrize("compress", [
    pytest.param(bytes, id="plain"), pytest.param(gzip.compress, id="gzip"), pytest.param(bz2.compress, id="bzip2"),
    pytest.param(lzma.compress, id="xz"),
    pytest.param(zstd, id="zstd", marks=pytest.mark.differs(reference="zstd contexts are newer"))])
def test_contexts(engine, compress):
    packed = compress(context({"Dockerfile": BASE + "COPY a b /x/", "a": "A", "b": {"data": "B", "mode": 0o751, "uid": 7}}))
    built = build(engine, packed)
    found = walk(engine, built.id)
    assert found["x/a"] == (b"0", "0o644", 0, 0, b"A")
    assert found["x/b"] == (b"0", "0o751", 0, 0, b"B")


def test_a_dockerfile_elsewhere(engine):
    files = {"sub/File": BASE + "LABEL where=sub", "Dockerfile": BASE + "LABEL where=top"}
    assert config(engine, build(engine, files).id)["Labels"]["where"] == "top"
    assert config(engine, build(engine, files, path="sub/File").id)["Labels"]["where"] == "sub"
    outside = build(engine, files, path="../File", check=False)
    assert "orbidden path outside the build context" in outside.error


def test_the_cache(engine):
    text = BASE + "RUN echo a > /a\nCOPY f /f\nRUN echo b > /b\n"
    first = build(engine, {"f": "1"}, text)
    again = build(engine, {"f": {"data": "1", "mtime": 1000}}, text)
    assert again.cached == 3 and again.id == first.id
    changed = build(engine, {"f": "2"}, text)
    assert changed.cached == 1 and changed.id != first.id
    mode = build(engine, {"f": {"data": "1", "mode": 0o755}}, text)
    assert mode.cached == 1
    assert build(engine, {"f": "1"}, text, nocache=True).cached == 0


def test_the_cache_knows_build_arguments(engine):
    text = BASE + "ARG v\nRUN echo $v > /v\n"
    one = build(engine, {}, text, buildargs={"v": "1"})
    two = build(engine, {}, text, buildargs={"v": "2"})
    assert two.cached == 1
    assert build(engine, {}, text, buildargs={"v": "1"}).id == one.id
    assert [walk(engine, b.id)["v"][4] for b in (one, two)] == [b"1\n", b"2\n"]
    assert "|1 v=1 /bin/sh -c echo $v > /v" in history(engine, one.id)
    assert "v" not in " ".join(config(engine, one.id).get("Env") or []).lower().split("=")


def test_unused_arguments(engine):
    built = build(engine, {}, BASE + "LABEL a=b", buildargs={"nobody": "x", "http_proxy": "p"})
    assert "[Warning] One or more build-args [nobody] were not consumed" in built.text


def test_stages(engine):
    text = """FROM busybox:e2e AS one
RUN mkdir /out && echo built > /out/result && chown -R 5:6 /out
FROM busybox:e2e AS two
COPY --from=one /out /copied
COPY --from=0 /out/result /single
FROM two
LABEL last=yes
"""
    built = build(engine, {}, text)
    found = walk(engine, built.id)
    # What comes out of a stage keeps its owner, what comes out of the context is root's.
    assert found["copied/result"] == (b"0", "0o644", 5, 6, b"built\n")
    assert found["single"][4] == b"built\n" and "out" not in found
    assert "last" not in (config(engine, build(engine, {}, text, target="two").id)["Labels"] or {})
    missing = build(engine, {}, text, target="nope", check=False)
    assert "failed to reach build target nope in Dockerfile" in missing.error


def test_copy_from_an_image(engine):
    built = build(engine, {}, "FROM scratch\nCOPY --from=busybox:e2e /etc/passwd /p\n")
    assert list(walk(engine, built.id)) == ["p"] or "p" in walk(engine, built.id)


def test_what_images_say(engine):
    text = BASE + """MAINTAINER me
ENV A=1 B="two words"
LABEL l1=x l2="y z"
EXPOSE 80 53/udp
VOLUME /data /more
USER alice
WORKDIR /w
WORKDIR sub
CMD ["a", "b c"]
ENTRYPOINT sh -x
STOPSIGNAL SIGINT
SHELL ["/bin/sh", "-ec"]
ONBUILD RUN echo hi
HEALTHCHECK --interval=5s --retries=2 CMD true
"""
    built = build(engine, {}, text, labels={"extra": "1"})
    found = config(engine, built.id)
    assert {"A=1", "B=two words"} <= set(found["Env"])
    assert found["Labels"] == {"l1": "x", "l2": "y z", "extra": "1"}
    assert set(found["ExposedPorts"]) == {"80/tcp", "53/udp"} and set(found["Volumes"]) == {"/data", "/more"}
    assert (found["User"], found["WorkingDir"]) == ("alice", "/w/sub")
    assert (found["Cmd"], found["Entrypoint"]) == (["a", "b c"], ["/bin/sh", "-c", "sh -x"])
    assert (found["StopSignal"], found["Shell"], found["OnBuild"]) == ("SIGINT", ["/bin/sh", "-ec"], ["RUN echo hi"])
    assert found["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5000000000, "Retries": 2}
    assert engine.api.get(f"/images/{built.id}/json").json["Author"] == "me"
    said = history(engine, built.id)
    for line in ["/bin/sh -c #(nop)  MAINTAINER me", "/bin/sh -c #(nop)  ENV A=1 B=two words",
                 "/bin/sh -c #(nop)  LABEL l1=x l2=y z", "/bin/sh -c #(nop)  VOLUME [/data /more]",
                 "/bin/sh -c #(nop)  USER alice", "/bin/sh -c #(nop) WORKDIR /w/sub",
                 '/bin/sh -c #(nop)  CMD ["a" "b c"]', '/bin/sh -c #(nop)  ENTRYPOINT ["/bin/sh" "-c" "sh -x"]',
                 "/bin/sh -c #(nop)  STOPSIGNAL SIGINT", "/bin/sh -ec #(nop)  SHELL [/bin/sh -ec]",
                 "/bin/sh -ec #(nop)  ONBUILD RUN echo hi", "/bin/sh -ec #(nop)  LABEL extra=1"]:
        assert line in said, (line, said)
    assert any("EXPOSE 53/udp 80" in line for line in said), said
    assert any('HEALTHCHECK &{["CMD-SHELL" "true"] "5s" "0s" "0s" \'\\x02\'}' in line for line in said), said
    inspected = engine.api.get(f"/images/{built.id}/json").json
    assert inspected["Parent"] and inspected["Os"] == "linux"


def test_triggers(engine):
    build(engine, {}, BASE + "ONBUILD COPY f /f\nONBUILD RUN echo ran > /ran\n", t="parent:1")
    built = build(engine, {"f": "of the child"}, "FROM parent:1\nLABEL a=b\n")
    assert "# Executing 2 build triggers" in built.text
    found = walk(engine, built.id)
    assert (found["f"][4], found["ran"][4]) == (b"of the child", b"ran\n")
    assert not config(engine, built.id).get("OnBuild")


def test_global_arguments(engine):
    text = "ARG TAG=nope\nARG BASE=busybox:$TAG\nFROM $BASE\nARG TAG\nRUN echo $TAG > /tag\n"
    built = build(engine, {}, text, buildargs={"TAG": "e2e"})
    assert built.steps[:3] == ["ARG TAG=nope", "ARG BASE=busybox:$TAG", "FROM $BASE"]
    assert walk(engine, built.id)["tag"][4] == b"e2e\n"


def test_variables(engine):
    text = BASE + "ENV a=value b=${none:-default} c=${a:+set} d='$a' e=\\$a f=\"x $a\"\nENV a=new g=$a\nWORKDIR /$a/${b}\nLABEL l=$g\n"
    found = config(engine, build(engine, {}, text).id)
    env = dict(pair.split("=", 1) for pair in found["Env"])
    assert {k: env.get(k) for k in "abdefg"} == {"a": "new", "b": "default", "d": "$a", "e": "$a", "f": "x ", "g": "value"}
    assert found["WorkingDir"] == "/new/default"


def test_ignored_files(engine):
    files = {".dockerignore": "# comment\n*.log\n!keep.log\n**/secret\n.dockerignore\n", "a.log": "x", "keep.log": "x",
             "dir/secret": "x", "dir/open": "x"}
    if engine.is_reference:
        # The docker command leaves those files out before it sends anything; dockerd only looks at two of them.
        files = {k: v for k, v in files.items() if k not in ("a.log", "dir/secret")}
    found = walk(engine, build(engine, files, BASE + "COPY . /x\n").id)
    assert {name for name in found if name.startswith("x/")} == {"x/Dockerfile", "x/keep.log", "x/dir", "x/dir/open"}


def test_limits_and_hosts(engine):
    text = BASE + "RUN cat /etc/hosts > /hosts; cat /proc/self/cgroup > /cgroup; df /dev/shm > /shm; ulimit -n > /files\n"
    built = build(engine, {}, text, memory=64 << 20, extrahosts="there:1.2.3.4", shmsize=8 << 20, networkmode="none", cpusetcpus="0",
                  ulimits=json.dumps([{"Name": "nofile", "Soft": 99, "Hard": 100}]))
    found = walk(engine, built.id)
    assert b"1.2.3.4\tthere" in found["hosts"][4]
    assert b" 8192 " in found["shm"][4] and found["files"][4] == b"99\n"


def test_a_platform(engine):
    built = build(engine, {}, BASE + "RUN true\n", platform="linux/amd64")
    assert document(engine, built.id)["architecture"] == "amd64"


def test_a_client_that_leaves_ends_the_build(engine):
    body = context({"Dockerfile": BASE + "RUN echo begun; sleep 1000\n"})
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(engine.socket))
    sock.sendall(b"POST /v1.41/build HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(body) + body)
    seen = b""
    while b"begun" not in seen.replace(b"echo begun", b""):
        seen += sock.recv(65536)
    sock.close()
    wait_until(lambda: engine.api.get("/containers/json", all=True).json == [] or engine.is_reference, what="the end of the build")


@pytest.mark.differs(reference="it has BuildKit")
def test_buildkit_is_refused(engine):
    built = build(engine, {}, BASE, check=False, version="2")
    assert built.status == 400 and "BuildKit" in built.error


def test_outputs(engine):
    """They are BuildKit's: the classic builder reads them and makes an image all the same."""
    text = BASE + "LABEL outputs=none\n"
    # Named as BuildKit would name it, the image is not.
    wanted = '[{"Type":"image","Attrs":{"name":"an:output"}},{"Type":"moby"},null]'
    built = build(engine, {}, text, outputs=wanted, t="outputs:t")
    assert "BuildKit" not in built.text
    engine.api.get("/images/outputs:t/json", expect=200)
    engine.api.get("/images/an:output/json", expect=404)
    built = build(engine, {}, text, outputs='[{"Type":"local","Attrs":{"dest":"/x"}},{"Type":"tar"}]')
    if not engine.is_reference:
        assert "[Warning] Outputs [local tar] need BuildKit; this build made an image\n" in built.text
    # What is no list of outputs is refused, since there are any.
    for wrong in ("{}", '"x"', "[1]", "{", '[{"Type":"tar","Attrs":{"dest":1}}]'):
        status = build(engine, {}, text, check=False, outputs=wrong).status
        assert status == (500 if engine.is_reference else 400), wrong
        old = Client(engine.socket, "1.39", engine.recorder)
        assert build(engine, {}, text, api=old, outputs=wrong).id == built.id, wrong


@pytest.mark.differs(reference="its classic builder keeps no records")
def test_pruning_by_age(engine):
    """A cache mount is as old as its last use."""
    text = BASE + "RUN --mount=type=cache,target=/c,id=aged echo x >> /c/n\n"

    def record():
        kept = engine.api.get("/system/df", expect=200).json["BuildCache"]
        return next((r for r in kept if r["Description"] == "cached mount aged"), None)

    build(engine, {}, text)
    first = record()
    build(engine, {}, text, nocache=True)
    second = record()
    assert second["CreatedAt"] == first["CreatedAt"] <= first["LastUsedAt"] < second["LastUsedAt"]
    assert (first["UsageCount"], second["UsageCount"]) == (1, 2)
    engine.api.post("/build/prune", filters={"until": ["1h"]}, all=True, expect=200)
    assert record() == second
    old = time.time() - 7200
    (mount,) = (path for path in (engine.data_root / "build/mounts").iterdir() if path.name == first["ID"])
    os.utime(mount / "used", (old, old))
    pruned = engine.api.post("/build/prune", filters={"until": ["1h"]}, all=True, expect=200).json
    assert pruned["CachesDeleted"] == [first["ID"]] and record() is None


@pytest.mark.differs(reference="the classic builder has none")
def test_heredocs(engine):
    text = BASE + """RUN <<EOF
echo one > /one
echo two > /two
EOF
RUN <<-SCRIPT
	#!/bin/sh
	echo $0 > /script
	SCRIPT
RUN cat > /inline <<'X'
$literal
X
ENV who=me
COPY <<a <<"b" /files/
for $who
a
for $who
b
"""
    found = walk(engine, build(engine, {}, text).id)
    assert {k: found[k][4] for k in ("one", "two", "inline", "files/a", "files/b")} == {
        "one": b"one\n", "two": b"two\n", "inline": b"$literal\n", "files/a": b"for me\n", "files/b": b"for $who\n"}
    assert found["script"][4] == b"/dev/pipes/SCRIPT\n"


@pytest.mark.differs(reference="the classic builder has none")
def test_mounts(engine):
    text = BASE + """RUN --mount=type=cache,target=/root/cache echo x >> /root/cache/n; wc -l < /root/cache/n > /count
FROM busybox:e2e AS other
RUN mkdir /o && echo other > /o/f
FROM busybox:e2e
COPY --from=0 /count /count
RUN --mount=target=/ctx cp /ctx/f /from-context; ! touch /ctx/g
RUN --mount=from=other,source=/o,target=/m,rw cp /m/f /from-stage && touch /m/new
RUN --mount=type=tmpfs,target=/t grep ' /t tmpfs' /proc/mounts > /tmpfs
"""
    engine.api.post("/build/prune", all=True, expect=200)
    first = walk(engine, build(engine, {"f": "content"}, text).id)
    assert (first["count"][4].strip(), first["from-context"][4], first["from-stage"][4]) == (b"1", b"content", b"other\n")
    assert first["tmpfs"][4] and not {"ctx", "m", "t", "root/cache"} & set(first)
    second = walk(engine, build(engine, {"f": "content"}, text, nocache=True).id)
    assert second["count"][4].strip() == b"2"
    kept = [r for r in engine.api.get("/system/df", expect=200).json["BuildCache"] if r["Type"] == "exec.cachemount"]
    assert [r["Description"] for r in kept] == ["cached mount /root/cache"] and kept[0]["Size"] == 4
    engine.api.post("/build/prune", all=True, expect=200)
    third = walk(engine, build(engine, {"f": "content"}, text, nocache=True).id)
    assert third["count"][4].strip() == b"1"


@pytest.mark.differs(reference="its classic builder keeps no records")
def test_cache_records(engine):
    engine.api.post("/build/prune", all=True, expect=200)
    built = build(engine, {}, BASE + "RUN head -c 5000 /dev/zero > /five\nLABEL a=b\n", t="kept:1")
    loose = build(engine, {}, BASE + "RUN head -c 7000 /dev/zero > /seven\n")
    records = engine.api.get("/system/df", expect=200).json["BuildCache"]
    assert sorted(r["Size"] for r in records) == [0, 5000, 7000]
    assert {r["Description"]: r["Shared"] for r in records} == {
        "RUN head -c 5000 /dev/zero > /five": True, "LABEL a=b": True, "RUN head -c 7000 /dev/zero > /seven": False}
    pruned = engine.api.post("/build/prune", expect=200).json
    assert len(pruned["CachesDeleted"]) == 1 and pruned["SpaceReclaimed"] == 7000
    engine.api.get(f"/images/{loose.id}/json", expect=404)
    pruned = engine.api.post("/build/prune", all=True, filters={"description": ["LABEL a=b"]}, expect=200).json
    assert len(pruned["CachesDeleted"]) == 1
    assert build(engine, {}, BASE + "RUN head -c 5000 /dev/zero > /five\nLABEL a=b\n").cached == 1
    engine.api.get(f"/images/{built.id}/json", expect=200)
    engine.api.post("/build/prune", filters={"nope": ["x"]}, all=True, expect=400)


@pytest.mark.differs(reference="its classic builder keeps no records")
def test_what_is_pruned(engine):
    new = Client(engine.socket, "1.51", engine.recorder)
    new.post("/build/prune", all=True, expect=200)
    build(engine, {}, BASE + "RUN head -c 3000 /dev/zero > /a\nRUN --mount=type=cache,target=/c head -c 50 /dev/zero > /c/x\n")
    kept = {r["Description"][:12]: r["ID"] for r in new.get("/system/df", expect=200).json["BuildCache"]}
    below, above, mount = kept["RUN head -c "], kept["RUN --mount="], kept["cached mount"]

    def prune(**query):
        return new.post("/build/prune", expect=200, **query).json.get("CachesDeleted") or []

    for wrong in ({"id": ["a", "b"]}, {"type": ["regular", "internal"]}, {"id": ["("]}, {"until": ["1h"], "unused-for": ["2h"]}):
        new.post("/build/prune", filters=wrong, expect=400)
    for nothing in ({"unused-for": ["1h"]}, {"description": ["RUN"]}, {"id": ["nope"]}, {"shared": ["true"]}, {"private": ["false"]}, {"inuse": ["true"]}, {"label": ["a"]}):
        assert prune(filters=nothing) == [], nothing
    for nothing in ("keep-storage", "reserved-space", "max-used-space"):
        assert prune(**{nothing: 1 << 30}) == [], nothing
    assert prune(**{"min-free-space": 1}) == []
    assert prune(filters={"parent": [below], "type": ["regular"]}) == [above]
    assert prune(filters={"id": [f"^{mount[:9]}"], "type": ["exec.cachemount"]}) == [mount]
    assert prune(**{"max-used-space": 1}) == [below]


def test_images_of_others_as_a_cache(engine, own_engine):
    text = BASE + "RUN echo a > /a\nENV x=y\nRUN echo b > /b\n"
    other = own_engine()
    made = build(other, {}, text, t="shared:1")
    engine.api.post("/images/load", body=other.api.get("/images/shared:1/get", expect=200).body, expect=200)
    built = build(engine, {}, text, cachefrom=json.dumps(["shared:1"]))
    # The two engines' base images are imported one by one; only ours are the same for it.
    assert built.cached == 3 or engine.is_reference, built.text
    assert engine.is_reference or document(engine, built.id)["rootfs"] == document(other, made.id)["rootfs"]


@pytest.mark.differs(reference="SOURCE_DATE_EPOCH is newer")
def test_the_time_of_a_repeatable_build(engine):
    text = BASE + "LABEL a=b\nRUN true\n"
    one = build(engine, {}, text, buildargs={"SOURCE_DATE_EPOCH": "1700000000"})
    assert document(engine, one.id)["created"] == "2023-11-14T22:13:20Z"
    two = build(engine, {}, text, buildargs={"SOURCE_DATE_EPOCH": "1700000000"}, nocache=True)
    assert one.id == two.id


@pytest.mark.differs(reference="it leaves the container")
def test_a_daemon_that_dies_leaves_no_container(own_engine):
    engine = own_engine()
    body = context({"Dockerfile": BASE + "COPY Dockerfile /\nRUN echo begun; sleep 1000\n"})
    answer = engine.api.request("POST", "/build", body=body, headers={"Content-Type": "application/x-tar"}, stream=True)
    seen = b""
    for chunk in answer.chunks():
        seen += chunk
        if b"begun" in seen.replace(b"echo begun", b""):
            break
    engine.kill()
    engine.start()
    wait_until(lambda: engine.api.get("/containers/json", all=True).json == [], what="the container's removal")
    wait_until(lambda: list((engine.data_root / "build/tmp").iterdir()) == [], what="the build's directories to be gone")
    assert build(engine, {"x": "y"}, BASE + "COPY x /\n").cached == 0


def test_the_seed(engine):
    """tar zcf Dockerfile.tar.gz Dockerfile, and the call as it is written there."""
    (engine.dir / "Dockerfile").write_text(BASE + "RUN echo built > /built\nCMD [\"cat\", \"/built\"]\n")
    subprocess.run(["tar", "zcf", "Dockerfile.tar.gz", "Dockerfile"], cwd=engine.dir, check=True)
    done = subprocess.run(
        ["curl", "-v", "--unix-socket", str(engine.proxy_socket), "-H", "Content-Type: application/x-tar", "-X", "POST",
         "--data-binary", "@Dockerfile.tar.gz", "http://v1.35/build?t=build:test"],
        cwd=engine.dir, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Successfully tagged build:test" in done.stdout, done.stdout + done.stderr
    assert engine.run(None, image="build:test")[1] == "built\n"


def test_the_docker_command(docker, tmp_path):
    docker.environment["DOCKER_BUILDKIT"] = "0"
    (tmp_path / "Dockerfile").write_text(BASE + "ARG who\nRUN echo for $who > /for\nCOPY . /ctx\n")
    (tmp_path / ".dockerignore").write_text("secret\nDockerfile\n")
    for name in ("secret", "public"):
        (tmp_path / name).write_text(name)
    done = docker("build", "-t", "cli:1", "--build-arg", "who=me", "--label", "l=1", str(tmp_path))
    assert "Step 1/5 : FROM busybox:e2e" in done.stdout and "Successfully tagged cli:1" in done.stdout
    assert docker.out("run", "--rm", "cli:1", "sh", "-c", "cat /for; ls -A /ctx") == "for me\n.dockerignore\npublic"
    again = docker("build", "-q", "-t", "cli:2", "--build-arg", "who=me", "--label", "l=1", str(tmp_path)).stdout.strip()
    assert again == docker.out("inspect", "-f", "{{.Id}}", "cli:1")
    failed = docker("build", "--force-rm", "-", stdin=BASE + "RUN exit 9\n", check=False)
    assert failed.returncode == 9 and "returned a non-zero code: 9" in failed.stderr
    piped = docker("build", "-t", "cli:3", "-", stdin=BASE + "CMD echo hi\n")
    assert "Successfully built" in piped.stdout and docker.out("run", "--rm", "cli:3") == "hi"


def test_docker_py(client, tmp_path):
    (tmp_path / "Dockerfile").write_text(BASE + "RUN echo x > /x\nFROM busybox:e2e AS two\nCOPY --from=0 /x /y\n")
    image, log = client.images.build(path=str(tmp_path), tag="py:1", rm=True, forcerm=True, labels={"a": "b"})
    assert image.tags == ["py:1"] and image.labels == {"a": "b"}
    assert any("Successfully built" in line.get("stream", "") for line in log)
    assert client.containers.run("py:1", ["cat", "/y"], remove=True) == b"x\n"
    with pytest.raises(sdk.errors.BuildError) as caught:
        client.images.build(fileobj=io.BytesIO((BASE + "RUN exit 3\n").encode()), forcerm=True)
    assert "returned a non-zero code: 3" in str(caught.value)
    with pytest.raises(sdk.errors.APIError):
        client.images.build(fileobj=io.BytesIO(b"NOPE\n"))


def test_remote_contexts(engine, closing):
    server = closing(Server(engine.sandbox))
    for path, body, kind in [
        ("/Dockerfile", (BASE + "LABEL from=text\n").encode(), "text/plain"),
        ("/context.tar.gz", gzip.compress(context({"sub/File": BASE + "COPY f /f\n", "f": "remote"})), "application/x-tar"),
        ("/file.txt", b"added", "text/plain"),
    ]:
        headers = {"Content-Type": kind, "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}
        server.on("GET|HEAD", f"^{path}$", status(200, headers, body))
    assert config(engine, build(engine, b"", remote=f"{server.url}/Dockerfile").id)["Labels"] == {"from": "text"}
    built = build(engine, b"", remote=f"{server.url}/context.tar.gz", path="sub/File")
    assert walk(engine, built.id)["f"][4] == b"remote"
    added = build(engine, {}, BASE + f"ADD {server.url}/file.txt /there/\nADD {server.url}/file.txt /named\n")
    found = walk(engine, added.id, times=True)
    assert found["there/file.txt"] == (b"0", "0o600", 0, 0, b"added", 1700000000) == found["named"]
    assert build(engine, {}, BASE + f"ADD {server.url}/nope /x\n", check=False).error
    if not engine.is_reference:
        wrong = build(engine, {}, BASE + f"ADD --checksum=sha256:{'0' * 64} {server.url}/file.txt /x\n", check=False)
        assert "digest mismatch" in wrong.error


def git_in(work):
    """A way to call git in a new directory."""
    work.mkdir(parents=True)

    def git(*args):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always", *args], cwd=work,
                       check=True, capture_output=True)
    return git


@pytest.fixture
def repository(engine, tmp_path):
    """git://127.0.0.1:<port>/r with two branches and a tag, served inside the engine's host."""
    work = tmp_path / "served/r"
    git = git_in(work)
    git("init", "-q", "-b", "main")
    for branch in ("main", "other"):
        if branch != "main":
            git("checkout", "-q", "-b", branch)
        (work / "sub").mkdir(exist_ok=True)
        (work / "Dockerfile").write_text(BASE + f"LABEL at={branch}\nCOPY . /all\n")
        (work / "sub/Dockerfile").write_text(BASE + f"LABEL at=sub-{branch}\n")
        git("add", "-A")
        git("commit", "-q", "-m", branch)
        git("tag", f"of-{branch}")
    git("checkout", "-q", "main")
    port = engine.sandbox.free_port("host", "127.0.0.1")
    daemon = subprocess.Popen(engine.sandbox.enter(
        ["git", "daemon", "--export-all", f"--base-path={work.parent}", "--listen=127.0.0.1", f"--port={port}", "--reuseaddr"]),
        preexec_fn=die_with_parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"git://127.0.0.1:{port}/r"
    wait_until(lambda: subprocess.run(engine.sandbox.enter(["git", "ls-remote", url]), capture_output=True).returncode == 0,
               what="the git daemon")
    yield url
    daemon.kill()
    daemon.wait()


def test_git_contexts(engine, repository):
    for fragment, label in [("", "main"), ("#other", "other"), ("#of-other", "other"), ("#main:sub", "sub-main"), ("#:sub", "sub-main")]:
        if engine.is_reference and fragment in ("", "#:sub"):
            continue  # Without a name it wants a branch called master.
        built = build(engine, b"", remote=repository + fragment)
        assert config(engine, built.id)["Labels"]["at"] == label, fragment
    if not engine.is_reference:
        assert not any(name.startswith("all/.git") for name in walk(engine, build(engine, b"", remote=repository).id))
        kept = build(engine, b"", remote=repository, buildargs={"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"})
        assert "all/.git/HEAD" in walk(engine, kept.id)
    for wrong in ("#nope", "#main:nope", "#main:../../..", "#--upload-pack=x"):
        failed = build(engine, b"", remote=repository + wrong, check=False)
        assert failed.error and failed.status >= 400, wrong


def test_submodules(engine, repository, tmp_path):
    """Those that are named in relation to the repository, and theirs; the commit that is named, not the newest."""
    inner, outer = git_in(tmp_path / "served/inner"), git_in(tmp_path / "served/outer")
    for git, folder in ((inner, "inner"), (outer, "outer")):
        git("init", "-q", "-b", "master")
        (tmp_path / "served" / folder / "file").write_text("first\n")
        git("add", "-A")
        git("commit", "-q", "-m", "first")
    outer("submodule", "add", "-q", "../inner", "deep/inner")
    outer("commit", "-q", "-m", "with inner")
    top = git_in(tmp_path / "served/top")
    top("init", "-q", "-b", "master")
    (tmp_path / "served/top/Dockerfile").write_text(BASE + "COPY . /all\n")
    top("submodule", "add", "-q", "../outer", "mods/outer")
    top("add", "-A")
    top("commit", "-q", "-m", "top")
    (tmp_path / "served/inner/file").write_text("second\n")
    inner("commit", "-qam", "second")
    url = repository.removesuffix("/r") + "/top"
    found = walk(engine, build(engine, b"", remote=url).id)
    assert found["all/mods/outer/file"][4] == b"first\n" == found["all/mods/outer/deep/inner/file"][4]
    if not engine.is_reference:
        found = walk(engine, build(engine, {}, BASE + f"ADD {url}#master:mods /x\n").id)
        assert found["x/outer/deep/inner/file"][4] == b"first\n"


def test_submodules_elsewhere(engine, repository, tmp_path):
    """Files of the engine's host are nobody's submodule."""
    (tmp_path / "secret").mkdir()
    secret = git_in(tmp_path / "secret/repo")
    secret("init", "-q")
    secret("commit", "-q", "--allow-empty", "-m", "secret")
    top = git_in(tmp_path / "served/top")
    top("init", "-q", "-b", "master")
    (tmp_path / "served/top/Dockerfile").write_text(BASE + "COPY . /all\n")
    top("submodule", "add", "-q", str(tmp_path / "secret/repo"), "mod")
    top("add", "-A")
    top("commit", "-q", "-m", "top")
    failed = build(engine, b"", remote=repository.removesuffix("/r") + "/top", check=False)
    assert failed.status >= 400 and "not allowed" in failed.error


@pytest.mark.differs(reference="its classic builder does not know git as a source")
def test_adding_a_repository(engine, repository, tmp_path):
    commit = subprocess.run(["git", "rev-parse", "other"], cwd=tmp_path / "served/r", capture_output=True, text=True).stdout.strip()
    text = BASE + f"""ADD --link --exclude=sub {repository} /main
ADD --chown=7:8 --checksum={commit[:7]} {repository}#of-other:sub /other/
ADD --keep-git-dir=true {repository}#{commit} /kept
"""
    built = build(engine, {}, text)
    found = walk(engine, built.id)
    assert found["main/Dockerfile"][:4] == (b"0", "0o644", 0, 0) and b"at=main" in found["main/Dockerfile"][4]
    assert not any(name.startswith(("main/.git", "main/sub")) for name in found)
    assert found["other/Dockerfile"][2:4] == (7, 8) and b"at=sub-other" in found["other/Dockerfile"][4]
    assert found["kept/sub"][1] == "0o755" and b"at=other" in found["kept/Dockerfile"][4]
    assert found["kept/.git/HEAD"][4].decode().strip() == commit
    # Git's own files have times in them; what was added is known by its commit.
    assert build(engine, {}, text).cached == 3


@pytest.mark.differs(reference="its classic builder does not know git as a source")
def test_repositories_that_cannot_be_added(engine, repository):
    for line, message in [(f"ADD --checksum=0123abc {repository} /x", "expected checksum to match 0123abc, got"),
                          (f"ADD --checksum=sha256:x {repository} /x", "invalid checksum"),
                          (f"ADD {repository}#main:../.. /x", "no directory of the repository"),
                          (f"ADD {repository}#--upload-pack=x /x", "invalid git reference"),
                          (f"COPY {repository} /x", "source can't be a git ref for COPY"),
                          ("ADD --checksum=abc Dockerfile /x", "checksum requires HTTP(S) or Git sources")]:
        failed = build(engine, {}, BASE + line + "\n", check=False)
        assert message in failed.error and f"Dockerfile:2: {line}" in failed.error
