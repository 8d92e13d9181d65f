"""Volumes: create, list, inspect, remove, prune; copies of image content; sub-paths; who uses what."""

import json
import threading
import time

import pytest

from harness.engine import IMAGE, quickest, wait_until


def filtered(engine, **filters):
    answer = engine.api.get("/volumes", filters=json.dumps({k: v if isinstance(v, list) else [v] for k, v in filters.items()}), expect=200)
    return sorted(v["Name"] for v in answer.json["Volumes"] or [])


def create(engine, name=None, expect=201, **body):
    return engine.api.post("/volumes/create", {**({"Name": name} if name else {}), **body}, expect=expect).json


def test_create_is_idempotent(engine):
    one = create(engine, "same", Labels={"a": "1"})
    two = create(engine, "same", Labels={"b": "2"})
    assert one == two and one["Labels"] == {"a": "1"} and one["Options"] is None
    assert one["Mountpoint"] == str(engine.data_root / "volumes/same/_data") and one["Scope"] == "local"
    assert time.strptime(one["CreatedAt"].replace("Z", "+0000"), "%Y-%m-%dT%H:%M:%S%z")


def test_names(engine):
    assert create(engine, "x", expect=400)["message"] == (
        "create x: volume name is too short, names should be at least two alphanumeric characters")
    message = create(engine, "a/b", expect=400)["message"]
    assert message.startswith('create a/b: "a/b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed')
    assert len(create(engine)["Name"]) == 64
    assert engine.api.get("/volumes/none", expect=404).json["message"] == "get none: no such volume"
    assert engine.api.delete("/volumes/none", expect=404).json["message"] == "get none: no such volume"
    engine.api.delete("/volumes/none", force=True, expect=204)


def test_filters(engine):
    create(engine, "f-one", Labels={"k": "v", "x": ""})
    create(engine, "f-two", Labels={"k": "w"})
    engine.create(host={"Binds": ["f-two:/v"]})
    assert filtered(engine, name="f-") == ["f-one", "f-two"]
    assert filtered(engine, label="k=v") == ["f-one"] and filtered(engine, label="k") == ["f-one", "f-two"]
    assert filtered(engine, label=["k", "x"]) == ["f-one"]
    assert filtered(engine, dangling="true", name="f-") == ["f-one"]
    assert filtered(engine, dangling="0", name="f-") == ["f-two"]
    assert filtered(engine, driver="local", name="f-") == ["f-one", "f-two"]
    assert filtered(engine, driver="other") == []
    answer = engine.api.get("/volumes", filters=json.dumps({"colour": ["red"]}), expect=400)
    assert answer.json["message"].lower().startswith("invalid filter 'colour")


def test_a_used_volume_is_not_removed(engine):
    first = engine.create(host={"Binds": ["busy:/v"]})
    second = engine.create(host={"Binds": ["busy:/v"]})
    message = engine.api.delete("/volumes/busy", expect=409).json["message"]
    assert message.startswith("remove busy: volume is in use - [") and first.id in message and second.id in message
    engine.api.delete("/volumes/busy", force=True, expect=409)
    first.remove()
    second.remove(v=True)
    # Named: it stays, also with v=1.
    assert filtered(engine, name="busy") == ["busy"]
    engine.api.delete("/volumes/busy", expect=204)


def test_anonymous_volumes_go_with_their_container(engine):
    def names(container):
        return [m["Name"] for m in container.inspect()["Mounts"]]

    stays = engine.create(Volumes={"/v": {}})
    goes = engine.create(Volumes={"/v": {}}, host={"Binds": ["named-too:/n"]})
    kept, gone = names(stays), [n for n in names(goes) if n != "named-too"]
    stays.remove()
    goes.remove(v=True)
    all_names = filtered(engine)
    assert kept[0] in all_names and gone[0] not in all_names and "named-too" in all_names
    removed = engine.create("true", Volumes={"/v": {}}, host={"AutoRemove": True})
    name = names(removed)[0]
    removed.start()
    wait_until(lambda: name not in filtered(engine), what="the removal of the volume")


def test_an_anonymous_volume_that_another_uses_stays(engine):
    owner = engine.create(Volumes={"/v": {}})
    name = owner.inspect()["Mounts"][0]["Name"]
    other = engine.create(host={"VolumesFrom": [owner.id]})
    owner.remove(v=True)
    assert filtered(engine, name=name) == [name]
    other.remove(v=True)
    if not engine.is_reference:
        assert filtered(engine, name=name) == []


def test_prune(engine):
    create(engine, "p-used")
    engine.create(host={"Binds": ["p-used:/v"]})
    create(engine, "p-named", Labels={"keep": "1"})
    create(engine, "p-tmpfs", DriverOpts={"type": "tmpfs", "device": "tmpfs"})
    anonymous = create(engine)["Name"]
    (engine.data_root / "volumes" / anonymous / "_data/file").write_bytes(b"x" * 1000)
    label = json.dumps({"label!": ["keep"]})
    report = engine.api.post("/volumes/prune", filters=label, expect=200).json
    assert report == {"VolumesDeleted": [anonymous], "SpaceReclaimed": 1000}
    report = engine.api.post("/volumes/prune", expect=200).json
    assert report["VolumesDeleted"] == ["p-named"]
    assert filtered(engine, name="p-") == ["p-tmpfs", "p-used"]
    answer = engine.api.post("/volumes/prune", filters=json.dumps({"until": ["1h"]}))
    assert answer.status in (400, 500)


def test_prune_of_newer_versions(engine):
    """Since 1.42 only what nobody named, unless told otherwise."""
    if engine.is_reference:
        return
    api = engine.api.at("1.42")
    create(engine, "named")
    anonymous = create(engine)["Name"]
    assert api.get(f"/volumes/{anonymous}", expect=200).json["Labels"] == {"com.docker.volume.anonymous": ""}
    assert engine.api.get(f"/volumes/{anonymous}", expect=200).json["Labels"] is None
    assert api.post("/volumes/prune", expect=200).json["VolumesDeleted"] == [anonymous]
    assert api.post("/volumes/prune", filters=json.dumps({"all": ["true"]}), expect=200).json["VolumesDeleted"] == ["named"]


def test_events(engine):
    stream = engine.api.get("/events", filters=json.dumps({"type": ["volume"]}), stream=True, expect=200)
    create(engine, "ev-one")
    container = engine.create("true", host={"Binds": ["ev-one:/v:ro"]})
    container.start()
    container.wait()
    container.remove()
    engine.api.delete("/volumes/ev-one", expect=204)
    engine.api.post("/volumes/prune", expect=200)
    seen = []
    for line in stream.lines():
        event = json.loads(line)
        seen.append((event["Action"], event["Actor"]["ID"], event["Actor"]["Attributes"]))
        if event["Action"] == "prune":
            break
    stream.close()
    actions = [s[0] for s in seen]
    # The reference tells of a create for each time that somebody asks.
    assert actions[0] == "create" and [a for a in actions if a != "create"] == ["mount", "unmount", "destroy", "prune"]
    by = {s[0]: s for s in seen}
    assert by["create"][1:] == ("ev-one", {"driver": "local"}) and by["destroy"][1:] == ("ev-one", {"driver": "local"})
    assert by["mount"][2] == {"container": container.id, "destination": "/v", "driver": "local", "propagation": "", "read/write": "false"}
    assert by["unmount"][2] == {"container": container.id, "driver": "local"}
    assert by["prune"][2] == {"reclaimed": "0"}


def test_disk_usage(engine):
    create(engine, "du-one")
    create(engine, "du-tmpfs", DriverOpts={"type": "tmpfs", "device": "tmpfs"})
    engine.output("head -c 5000 /dev/zero > /v/file", host={"Binds": ["du-one:/v"]})
    engine.create(host={"Binds": ["du-one:/v", "du-one:/w"]})
    found = {v["Name"]: v for v in engine.api.get("/system/df", expect=200).json["Volumes"]}
    assert found["du-one"]["UsageData"] == {"RefCount": 1, "Size": 5000} and "du-tmpfs" not in found
    assert "UsageData" not in engine.api.get("/volumes/du-one", expect=200).json


def test_many_volumes_are_listed_quickly(engine):
    for n in range(500):
        create(engine, f"many-{n:03}", Labels={"n": str(n)})
    took, found = quickest(lambda: filtered(engine, name="many-"))
    assert len(found) == 500
    assert took < (10 if engine.is_reference else 0.5), took
    assert filtered(engine, label="n=250") == ["many-250"]


def test_copy_up_keeps_everything(engine):
    """Owners, modes, links and extended attributes of the image, also into a directory that is the image's own."""
    seed = engine.create("mkdir -p /up/sub; echo x > /up/sub/f; chown 7:8 /up/sub/f; chmod 4750 /up/sub/f; ln /up/sub/f /up/hard; "
                         "ln -s sub /up/soft; mkfifo /up/fifo; chmod 1751 /up")
    seed.start()
    assert seed.wait() == 0
    engine.api.post("/commit", {}, container=seed.id, repo="copy-up", tag="x", expect=201)
    out = engine.output("cd /up; stat -c '%u:%g %a %h' sub/f; readlink soft; stat -c %F fifo; stat -c %a .", image="copy-up:x",
                        host={"Binds": ["filled:/up"]})
    assert out == "7:8 4750 2\nsub\nfifo\n1751\n"
    create(engine, "there-already")
    out = engine.output("cat /up/sub/f", image="copy-up:x", host={"Binds": ["there-already:/up"]})
    assert out == "x\n"
    assert engine.output("ls /up", image="copy-up:x", host={"Binds": ["not:/up:nocopy"]}) == ""


def test_concurrent_creates_fill_once(engine):
    threads = [threading.Thread(target=lambda: engine.create("true", host={"Binds": ["race:/data"]})) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.output("cat /data/seed", host={"Binds": ["race:/data"]}) == "from the image\n"
    assert not (engine.data_root / "volumes/race/_fill").exists()


def test_volumes_from(engine):
    shared = engine.dir / engine.name("from")
    shared.mkdir()
    source = engine.create(Volumes={"/anon": {}}, host={"Binds": ["vf:/named", f"{shared}:/bind"]})
    engine.output("echo 1 > /named/f; echo 2 > /bind/f; echo 3 > /anon/f", host={"VolumesFrom": [source.id]})
    out = engine.output("cat /named/f /bind/f /anon/f; echo x > /named/f || echo refused", host={"VolumesFrom": [f"{source.id}:ro"]})
    assert out == "1\n2\n3\nrefused\n"
    for bad in ("ro,rw", "rslave", "nocopy", "wrong"):
        body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"VolumesFrom": [f"{source.id}:{bad}"]}}
        answer = engine.api.post("/containers/create", body)
        assert answer.status in (400, 500) and answer.json["message"] == f"invalid mode: {bad}"


def test_cluster_volumes_are_refused(engine):
    if engine.is_reference:
        return
    api = engine.api.at("1.51")
    answer = api.request("PUT", "/volumes/any", json_body={"Spec": {}}, version=1)
    assert answer.status == 503
    assert answer.json["message"] == "volume update only valid for cluster volumes, but swarm is unavailable"
    answer = api.post("/volumes/create", {"Name": "cluster", "ClusterVolumeSpec": {"Group": "x"}})
    assert answer.status == 503 and answer.json["message"].startswith("This node is not a swarm manager.")
    # An older client does not know the field, and gets a plain volume.
    assert engine.api.post("/volumes/create", {"Name": "plain", "ClusterVolumeSpec": {"Group": "x"}}, expect=201).json["Driver"] == "local"


class TestSubpath:
    """Since 1.45; the reference is older."""

    @pytest.fixture(autouse=True)
    def newer(self, engine):
        self.engine = engine
        self.api = engine.api.at("1.45")

    def mount(self, subpath, source="tree", **more):
        return {"Type": "volume", "Source": source, "Target": "/m", "VolumeOptions": {"Subpath": subpath, **more}}

    def tree(self):
        self.engine.output("mkdir -p /v/dir/deep; echo in > /v/dir/deep/file; ln -s dir /v/link; ln -s /etc /v/absolute; ln -s ../../../etc /v/up; echo f > /v/file",
                           host={"Binds": ["tree:/v"]})

    def test_parts(self):
        if self.engine.is_reference:
            return
        self.tree()
        for subpath, command, out in [("dir", "cat /m/deep/file", "in\n"), ("dir/deep", "cat /m/file", "in\n"), ("link/deep", "cat /m/file", "in\n"),
                                      ("file", "cat /m", "f\n"), ("./dir", "ls /m", "deep\n")]:
            assert self.engine.output(command, api=self.api, host={"Mounts": [self.mount(subpath)]}) == out, subpath
        container = self.engine.create("echo x > /m/new || echo refused", api=self.api, host={"Mounts": [{**self.mount("dir"), "ReadOnly": True}]})
        container.start()
        container.wait()
        assert container.logs()[0] == "refused\n"
        # Whoever takes the mounts of another container gets the same part.
        assert self.engine.output("cat /m/deep/file", host={"VolumesFrom": [container.id]}) == "in\n"
        for subpath in ("absolute", "up", "missing"):
            container = self.engine.create(api=self.api, host={"Mounts": [self.mount(subpath)]})
            message = container.start(expect=None).json["message"]
            assert ("escapes the base directory" if subpath != "missing" else "cannot access path") in message, message
        for subpath in ("../x", "/dir", "dir/../../x"):
            answer = self.api.post("/containers/create", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"Mounts": [self.mount(subpath)]}})
            assert answer.status == 400 and answer.json["message"] == (
                'invalid mount config for type "volume": subpath must be a relative path within the volume')
        answer = self.api.post("/containers/create", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"Mounts": [self.mount("dir", source="")]}})
        assert answer.status == 400 and "must not set Subpath when using anonymous volumes" in answer.json["message"]

    def test_a_link_race_leads_nowhere(self):
        """A container exchanges the directory for a link to / again and again; none that is started sees the host."""
        if self.engine.is_reference:
            return
        self.engine.output("mkdir /v/race", host={"Binds": ["tree:/v"]})
        racer = self.engine.start_container("cd /v; while :; do mv race other; ln -s / race; rm race; mv other race; done", host={"Binds": ["tree:/v"]})
        seen = set()
        for _ in range(30):
            container = self.engine.create("ls /m", api=self.api, host={"Mounts": [self.mount("race")]})
            if container.start(expect=None).status == 204:
                container.wait()
                seen.add(container.logs()[0])
            container.remove(force=True)
        racer.kill()
        assert seen <= {""}, seen

    def test_copy_up_into_a_part(self):
        if self.engine.is_reference:
            return
        self.engine.output("mkdir /v/part", host={"Binds": ["tree:/v"]})
        out = self.engine.output("cat /data/seed", api=self.api, host={"Mounts": [{**self.mount("part"), "Target": "/data"}]})
        assert out == "from the image\n"

    def test_older_clients_do_not_know_it(self):
        if self.engine.is_reference:
            return
        self.tree()
        container = self.engine.create("ls /m", host={"Mounts": [self.mount("dir")]})
        container.start()
        container.wait()
        assert "file" in container.logs()[0]
