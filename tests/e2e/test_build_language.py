"""The Dockerfile language beyond the classic builder's: what flags of instructions mean, and squashing."""

import gzip
import io
import json
import re
import tarfile

import pytest

from harness.build import build, config, context, document, history, layers, walk
from harness.servers import Server, status

BASE = "FROM busybox:e2e\n"
NEWER = pytest.mark.differs(reference="its classic builder does not know this")


def hard(to, mode=0o640):
    return {"kind": tarfile.LNKTYPE, "link": to, "mode": mode}


def names_of(engine, image):
    """Of every file with several names in an image: the names."""
    made = engine.create(["true"], image=image)
    exported = engine.api.get(f"{made.path}/export", expect=200, timeout=180).body
    made.remove()
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        groups = {}
        for member in tar:
            if member.islnk():
                groups.setdefault(member.linkname, [member.linkname]).append(member.name)
    return sorted(sorted(group) for group in groups.values() if not group[0].startswith("bin/"))


@pytest.fixture
def squashing(own_engine):
    return own_engine("--experimental")


def test_squash(squashing):
    engine = squashing
    text = BASE + """ENV a=b
RUN mkdir /d /e && echo 1 > /d/one && echo 2 > /d/two && echo x > /gone && ln /d/one /d/same
RUN rm /gone /d/two /etc/group && rm -r /e && echo 3 > /d/three && rm -r /home && mkdir /home && touch /home/new
COPY f /d/one
LABEL l=m
"""
    whole = build(engine, {"f": "copied"}, text)
    built = build(engine, {"f": "copied"}, text, squash=True, t="squashed:1")
    assert built.id != whole.id or engine.is_reference
    squashed = engine.api.get("/images/squashed:1/json", expect=200).json
    base = engine.api.get("/images/busybox:e2e/json", expect=200).json
    assert squashed["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    assert walk(engine, "squashed:1") == walk(engine, whole.id)
    (layer,) = layers(engine, "squashed:1")[len(base["RootFS"]["Layers"]):]
    assert {"d/one", "d/three", "etc/.wh.group"} <= set(layer) and not {"gone", "d/two", "e"} & set(layer)
    assert config(engine, "squashed:1") == config(engine, whole.id)
    steps = document(engine, "squashed:1")["history"]
    below = len(document(engine, "busybox:e2e")["history"])
    assert [s["created_by"] for s in steps[below:-1]] == history(engine, whole.id)[below:]
    assert all(s.get("empty_layer") for s in steps[below:-1])
    assert steps[-1]["comment"] == f"merge {whole.id} to {base['Id']}" and not steps[-1].get("created_by")


def test_squash_from_nothing(squashing):
    engine = squashing
    text = "FROM busybox:e2e AS one\nRUN echo 1 > /one\nFROM scratch\nCOPY --from=one /one /a\nCOPY --from=one /etc/passwd /b/\n"
    build(engine, {}, text, squash=True, t="tiny:1")
    assert len(engine.api.get("/images/tiny:1/json", expect=200).json["RootFS"]["Layers"]) == 1
    assert {"a", "b/passwd"} <= set(walk(engine, "tiny:1"))
    assert document(engine, "tiny:1")["history"][-1]["comment"].startswith("create new from sha256:")


def test_hard_links_in_a_context(engine):
    body = context({"Dockerfile": BASE + "COPY d /copied\nCOPY . /all/\nADD --chown=7:8 d /owned\nCOPY d/a d/b /single/\n",
                    "d/a": {"data": "same", "mode": 0o640}, "d/b": hard("d/a"), "d/sub/c": hard("d/a"), "d/empty": "",
                    "d/also": hard("d/empty", 0o644), "d/other": ""})
    built = build(engine, body)
    groups = names_of(engine, built.id)
    for top in ("copied", "owned", "all/d"):
        assert [f"{top}/a", f"{top}/b", f"{top}/sub/c"] in groups, groups
        assert [f"{top}/also", f"{top}/empty"] in groups
    assert len(groups) == 6 and not any(name.startswith("single") for group in groups for name in group)
    assert walk(engine, built.id)["single/b"][:2] == (b"0", "0o640")


def test_hard_links_in_a_stage(engine):
    text = "FROM busybox:e2e AS one\nRUN mkdir -p /o/p && echo a > /o/a && ln /o/a /o/p/b && ln -s a /o/l && ln /o/a /outside\n" + BASE
    built = build(engine, {}, text + "COPY --from=one /o /x\n")
    assert names_of(engine, built.id) == [["x/a", "x/p/b"]]


@NEWER
def test_link(engine):
    text = """FROM busybox:e2e AS files
RUN mkdir /f && echo 1 > /f/one && chmod 700 /f
FROM busybox:e2e
RUN echo %s > /below && ln -s /home /link && mkdir -m 1777 /wide
COPY --link --from=files /f/one /link/
COPY --link f /wide/f
COPY --link --chown=alice:staff f /owned
"""
    first = build(engine, {"f": "x"}, text % "a")
    found = walk(engine, first.id)
    # Nothing below is looked at: the link is no way into another directory, and a directory's mode is the new one.
    assert found["link"][:2] == (tarfile.DIRTYPE, "0o755") and "home/one" not in found
    assert found["wide"][1] == "0o755" and found["owned"][2:4] == (1000, 50)
    second = build(engine, {"f": "x"}, text % "b")
    # What depends on nothing below is taken although something below changed; a user's name needs a look at it.
    assert (first.cached, second.cached) == (0, 3), second.text
    ids = [engine.api.get(f"/images/{b.id}/json").json["RootFS"]["Layers"] for b in (first, second)]
    assert ids[0][-3:] == ids[1][-3:] and ids[0][-4] != ids[1][-4]
    assert {k: v for k, v in walk(engine, second.id).items() if k != "below"} == {k: v for k, v in found.items() if k != "below"}
    assert build(engine, {"f": "y"}, text % "b").cached == 3


@NEWER
def test_parents(engine):
    files = {"x/y/a.txt": "a", "x/y/b.txt": "b", "x/z/c.txt": "c", "x/z/d.md": "d", "top.txt": "t",
             "x/": {"kind": tarfile.DIRTYPE, "mode": 0o750, "uid": 5}}
    text = BASE + """COPY --parents x/y/a.txt top.txt /one/
COPY --parents ./x/./y/*.txt /two/
COPY --parents x/**/*.txt /three/
COPY --parents --exclude=x/z x /four/
COPY --parents --exclude=**/*.txt --exclude=x/y/b* x /five/
COPY --parents --from=0 /etc/./group /six
"""
    found = walk(engine, build(engine, files, "FROM busybox:e2e\n" + text).id)

    def below(top):
        return {name[len(top) + 1:] for name, entry in found.items() if name.startswith(f"{top}/") and entry[0] == b"0"}

    assert below("one") == {"x/y/a.txt", "top.txt"} and found["one/x"][:3] == (tarfile.DIRTYPE, "0o750", 0)
    assert below("two") == {"y/a.txt", "y/b.txt"}
    assert below("three") == {"x/y/a.txt", "x/y/b.txt", "x/z/c.txt"}
    assert below("four") == {"x/y/a.txt", "x/y/b.txt"}
    assert below("five") == {"x/z/d.md"}
    assert below("six") == {"group"}


@NEWER
def test_exclude(engine):
    files = {"home.txt": "1", "home.md": "2", "home.rs": "3", "d/x.txt": "4", "d/e/y.txt": "5", "d/e/z": "6", "d/w": "7"}
    text = BASE + """ARG kind=txt
COPY --exclude=*.$kind --exclude=*.md hom* /one/
COPY --exclude=*.txt d /two/
COPY --exclude=**/*.txt d /three/
COPY --exclude=e d /four/
ADD --exclude=* d /five/
"""
    found = walk(engine, build(engine, files, text).id)
    names = {name for name, entry in found.items() if entry[0] == b"0" and name.split("/")[0] in {"one", "two", "three", "four", "five"}}
    assert names == {"one/home.rs", "two/w", "two/e/y.txt", "two/e/z", "three/w", "three/e/z", "four/w", "four/x.txt"}


@NEWER
def test_modes(engine):
    files = {"d/f": {"data": "", "mode": 0o600}, "d/x": {"data": "", "mode": 0o700}, "d/s/g": {"data": "", "mode": 0o644}}
    text = BASE + """ARG MODE=440
COPY --chmod=$MODE d/f /octal
COPY --chmod=u=rwX,go=rX d /words
COPY --chmod=g=u d /copied
ADD --chmod=+x d/f /plus
COPY --chmod=u+s,o-r d/s/g /special
"""
    found = {name: entry[1] for name, entry in walk(engine, build(engine, files, text).id).items()}
    assert found["octal"] == "0o440" and found["plus"] == "0o711" and found["special"] == "0o4640"
    assert [found[f"words/{n}"] for n in ("f", "x", "s", "s/g")] == ["0o644", "0o755", "0o755", "0o644"]
    assert [found[f"copied/{n}"] for n in ("f", "x", "s/g")] == ["0o660", "0o770", "0o664"]
    for wrong in ("999", "77777", "u=q"):
        assert f"invalid chmod parameter: '{wrong}'" in build(engine, files, BASE + f"COPY --chmod={wrong} d /d\n", check=False).error


@NEWER
def test_networks_of_commands(engine):
    text = BASE + """RUN --network=none ip -o link | wc -l > /none
RUN --network=default ip -o link | wc -l > /default
RUN --network=host readlink /proc/self/ns/net > /host
"""
    found = walk(engine, build(engine, {}, text).id)
    assert found["none"][4] == b"1\n" and found["default"][4] == b"2\n" and found["host"][4]
    assert "invalid network mode" in build(engine, {}, BASE + "RUN --network=x true\n", check=False).error


@NEWER
def test_commands_that_want_more(engine, own_engine):
    text = BASE + "RUN --security=insecure grep CapEff /proc/self/status > /caps; mkdir /m; mount -t tmpfs none /m\n"
    refused = build(engine, {}, text, check=False)
    assert "security.insecure is not allowed" in refused.error and "Dockerfile:2: RUN --security" in refused.error
    build(engine, {}, BASE + "RUN --security=sandbox true\n")
    settings = engine.dir / "insecure.json"
    settings.write_text(json.dumps({"builder": {"entitlements": {"security-insecure": True}}}))
    allowing = own_engine("--config-file", str(settings))
    found = walk(allowing, build(allowing, {}, text).id)
    kept = walk(allowing, build(allowing, {}, BASE + "RUN grep CapEff /proc/self/status > /caps\n").id)
    assert int(found["caps"][4].split()[1], 16) > int(kept["caps"][4].split()[1], 16)


@NEWER
def test_secrets_that_nobody_offers(engine):
    text = BASE + """RUN --mount=type=secret,id=s --mount=type=ssh --mount=type=secret,id=t,env=T \\
 test ! -e /run/secrets/s && test ! -e /run/buildkit && test -z "$T" && echo without > /done
"""
    assert walk(engine, build(engine, {}, text).id)["done"][4] == b"without\n"
    for mount, message in [("type=secret,id=token,required", "secret token: not found"),
                           ("type=ssh,required=true", "ssh agent default: not found")]:
        failed = build(engine, {}, BASE + f"RUN --mount={mount} true\n", check=False)
        assert message in failed.error and f"Dockerfile:2: RUN --mount={mount} true" in failed.error


@NEWER
def test_cache_mounts(engine):
    text = """FROM busybox:e2e AS seed
RUN mkdir -p /s/t && echo seeded > /s/t/f
FROM busybox:e2e
ARG dir=/c uid=1000
RUN --mount=type=cache,id=lang-owned,target=$dir,uid=$uid,gid=50,mode=0700 stat -c '%u %g %a' /c > /owned
RUN --mount=type=cache,id=lang-owned,target=/c stat -c '%u %g %a' /c > /plain
RUN --mount=type=cache,id=lang-seeded,from=seed,source=/s/t,target=/c cat /c/f > /seeded; echo more > /c/more
RUN --mount=type=cache,id=lang-seeded,from=seed,source=s/t,target=/d ls /d | wc -l > /again
RUN --mount=type=cache,id=lang-seeded,target=/c,ro ls /c | wc -l > /unseeded; ! touch /c/x
RUN --mount=type=cache,target=rel --mount=type=tmpfs,target=/t,size=1m df /t | tail -1 > /size; echo y > /rel/y
"""
    found = {k: v[4].decode(errors="replace").strip() for k, v in walk(engine, build(engine, {}, text).id).items() if v[0] == b"0"}
    assert (found["owned"], found["plain"]) == ("1000 50 700", "0 0 755")
    assert (found["seeded"], found["again"], found["unseeded"]) == ("seeded", "2", "0")
    assert " 1024 " in found["size"] and "rel/y" not in found
    for mount, message in [("type=cache,target=/a,sharing=x", "unsupported sharing value"), ("target=/", "invalid mount target"),
                           ("type=bind,target=/a,from=$x", "doesn't support variable expansion"), ("type=x", "unsupported mount type")]:
        assert message in build(engine, {}, BASE + f"RUN --mount={mount} true\n", check=False).error, mount


@NEWER
def test_caches_that_several_stages_use(engine):
    stage = "FROM busybox:e2e AS s{n}\nRUN --mount=type=cache,id=lang-{how},sharing={how},target=/c {command}\n"
    meet = 'touch /c/{n}; for i in $(seq 300); do test -e /c/{m} && exit 0; sleep 0.1; done; exit 1'
    apart = 'test ! -e /c/busy && touch /c/busy && sleep 0.3 && rm /c/busy'
    alone = 'test ! -e /c/{n} && touch /c/{n} && sleep 1 && test $(ls /c | wc -l) = 1; ls -i -d /c > /which'

    def both(how, command):
        text = "".join(stage.format(n=n, how=how, command=command.format(n=n, m=3 - n)) for n in (1, 2))
        return build(engine, {}, text + "FROM busybox:e2e\nCOPY --from=s1 /etc/passwd /1\nCOPY --from=s2 /etc/passwd /2\n")

    both("shared", meet)
    both("locked", apart)
    both("private", alone)


def test_arguments_of_the_stage_below(engine):
    text = """ARG HEAD=h
FROM busybox:e2e AS one
ARG a=1
ARG HEAD
ARG b=default
FROM one
ARG b
RUN echo "$a $HEAD $b" > /out
FROM busybox:e2e AS other
RUN echo "$a$HEAD" > /none
FROM one
COPY --from=1 /out /out
COPY --from=other /none /none
"""
    found = walk(engine, build(engine, {}, text, buildargs={"b": "given"}).id)
    # The language says today that arguments are inherited; the classic builder begins anew with each stage.
    assert found["out"][4] == (b"  given\n" if engine.is_reference else b"1 h given\n") and found["none"][4] == b"\n"


def test_arguments_that_need_no_declaration(engine):
    text = BASE + "RUN echo \"$http_proxy $HTTPS_PROXY\" > /proxies\n"
    first = build(engine, {}, text, buildargs={"http_proxy": "one", "HTTPS_PROXY": "secret"})
    assert walk(engine, first.id)["proxies"][4] == b"one secret\n"
    assert "secret" not in json.dumps(document(engine, first.id))
    assert build(engine, {}, text, buildargs={"http_proxy": "two"}).cached == 1
    declared = BASE + "ARG http_proxy\nRUN echo $http_proxy > /proxies\n"
    assert "|1 http_proxy=p /bin/sh -c echo $http_proxy > /proxies" in history(
        engine, build(engine, {}, declared, buildargs={"http_proxy": "p"}).id)


@NEWER
def test_platforms(engine):
    text = """FROM --platform=$BUILDPLATFORM busybox:e2e
ARG TARGETPLATFORM
ARG TARGETOS TARGETARCH BUILDOS BUILDARCH
RUN echo "$TARGETPLATFORM $TARGETOS $TARGETARCH $BUILDOS $BUILDARCH $BUILDPLATFORM" > /out
"""
    found = walk(engine, build(engine, {}, text).id)["out"][4].split()
    assert found == [b"linux/amd64", b"linux", b"amd64", b"linux", b"amd64"]


@NEWER
def test_modifiers(engine):
    text = BASE + r"""ENV s=foobarbaz empty= p=a/b.tar.gz
ENV r1=${s#f*b} r2=${s##f*b} r3=${s%b*} r4=${s%%b*} r5=${s/ba/fo} r6=${s//ba/fo} r7=${p##*/} r8=${p%.*}
ENV d1=${none:-d} d2=${empty:-d} d3=${empty-d} d4=${s:+y} d5=${empty:+y} d6=${empty+y} d7=${none:-${s%baz}} d8="${s}\${s}" d9='${s}'
"""
    env = dict(pair.split("=", 1) for pair in config(engine, build(engine, {}, text).id)["Env"])
    assert [env[f"r{n}"] for n in range(1, 9)] == [
        "arbaz", "az", "foobar", "foo", "fooforbaz", "fooforfoz", "b.tar.gz", "a/b.tar"]
    assert [env[f"d{n}"] for n in range(1, 10)] == ["d", "d", "", "y", "", "y", "foobar", "foobarbaz${s}", "${s}"]
    for text, message in [("LABEL a=${x?}", "x: is not allowed to be unset"), ('LABEL a="${x:?say why}"', "x: say why"),
                          ("LABEL a=${x", "syntax error: missing '}'"), ("LABEL a=${x:=y}", "unsupported modifier (:=)")]:
        failed = build(engine, {}, BASE + f"\n{text}\n", check=False)
        assert message in failed.error and f"Dockerfile:3: {text}" in failed.error


@NEWER
def test_repeatable_layers(engine):
    text = BASE + "RUN mkdir -p /made/dir && echo a > /made/dir/f && rm /etc/group && ln /made/dir/f /made/g\nCOPY f /copied/f\nWORKDIR /w\n"
    query = {"buildargs": {"SOURCE_DATE_EPOCH": "1600000000"}, "nocache": True}
    one = build(engine, {"f": {"data": "x", "mtime": 1700000000}}, text, **query)
    two = build(engine, {"f": {"data": "x", "mtime": 1750000000}}, text, **query)
    assert one.id == two.id and "were not consumed" not in one.text
    found = walk(engine, one.id, times=True)
    assert found["made/dir/f"][5] == found["copied/f"][5] == 1600000000
    squashed = [build(engine, {"f": "x"}, text, squash=True, **query).id for _ in range(2)]
    assert squashed[0] == squashed[1]


@NEWER
def test_triggers_that_need_stages(engine):
    build(engine, {}, BASE + "ONBUILD COPY --from=tools /made /made\nONBUILD RUN --mount=from=tools,target=/t cp /t/made /again\n", t="trigger:1")
    text = "FROM busybox:e2e AS tools\nRUN echo made > /made\nFROM busybox:e2e AS never\nRUN exit 1\nFROM trigger:1\nLABEL a=b\n"
    built = build(engine, {}, text)
    # The stage that a trigger asks for is counted when it begins.
    assert re.findall(r"^Step (.*)$", built.text, re.M) == [
        "1/2 : FROM trigger:1", "3/4 : FROM busybox:e2e AS tools", "4/4 : RUN echo made > /made", "2/4 : LABEL a=b",
    ]
    found = walk(engine, built.id)
    assert found["made"][4] == found["again"][4] == b"made\n"
    missing = build(engine, {}, "FROM trigger:1\n", check=False)
    assert missing.error


@NEWER
def test_unpacking(engine, closing):
    archive = gzip.compress(context({"in/f": "packed"}))
    server = closing(Server(engine.sandbox))
    server.on("GET|HEAD", "^/a.tar.gz$", status(200, {}, archive))
    text = BASE + f"""ADD a.tar.gz /local/
ADD --unpack=false a.tar.gz /kept/
ADD {server.url}/a.tar.gz /remote/
ADD --unpack=true --chown=3:4 {server.url}/a.tar.gz /unpacked
ADD --unpack --link {server.url}/a.tar.gz /linked/
"""
    found = walk(engine, build(engine, {"a.tar.gz": archive}, text).id)
    assert found["local/in/f"][4] == found["linked/in/f"][4] == b"packed" and found["unpacked/in/f"][2:] == (3, 4, b"packed")
    assert found["kept/a.tar.gz"][4] == found["remote/a.tar.gz"][4] == archive
