"""Binds, volumes, tmpfs and the rules between them."""

import os

import pytest

from harness.engine import IMAGE


@pytest.fixture
def shared(engine):
    """A directory of the engine's host with a file in it."""
    path = engine.dir / engine.name("shared")
    path.mkdir()
    (path / "file").write_text("host\n")
    return path


def volumes(engine):
    return {v["Name"]: v for v in engine.api.get("/volumes", expect=200).json["Volumes"] or []}


def test_bind(engine, shared):
    assert engine.output("cat /m/file; echo container > /m/new", host={"Binds": [f"{shared}:/m"]}) == "host\n"
    assert (shared / "new").read_text() == "container\n"


def test_bind_read_only(engine, shared):
    container = engine.start_container("cat /m/file; echo x > /m/new || echo refused", host={"Binds": [f"{shared}:/m:ro"]})
    container.wait()
    assert container.logs()[0] == "host\nrefused\n"
    mount = container.inspect()["Mounts"][0]
    assert mount == {"Type": "bind", "Source": str(shared), "Destination": "/m", "Mode": "ro", "RW": False, "Propagation": "rprivate"}


def test_bind_of_a_file(engine, shared):
    assert engine.output(["cat", "/etc/deep/er"], host={"Binds": [f"{shared}/file:/etc/deep/er"]}) == "host\n"


def test_bind_makes_its_source(engine, shared):
    engine.output("true", host={"Binds": [f"{shared}/made/here:/m"]})
    assert (shared / "made/here").is_dir()


def test_bind_mount_of_the_new_form(engine, shared):
    mounts = [{"Type": "bind", "Source": str(shared), "Target": "/m", "ReadOnly": True}]
    container = engine.start_container("cat /m/file; echo x > /m/new || echo refused", host={"Mounts": mounts})
    container.wait()
    assert container.logs()[0] == "host\nrefused\n"
    assert container.inspect()["Mounts"][0]["RW"] is False
    assert container.inspect()["HostConfig"]["Mounts"] == mounts


@pytest.mark.parametrize("mode, tag", [("shared", "shared:"), ("rshared", "shared:"), ("slave", "master:"), ("rslave", "master:"),
                                       ("private", ""), ("rprivate", "")])
def test_propagation(engine, shared, mode, tag):
    engine.sandbox.run(["mount", "--bind", shared, shared])
    engine.sandbox.run(["mount", "--make-shared", shared])
    try:
        container = engine.start_container(host={"Binds": [f"{shared}:/m:{mode}"]})
        line = next(x for x in container.exec(["cat", "/proc/self/mountinfo"])[1].splitlines() if " /m " in x)
        assert tag in line and (tag or ("shared:" not in line and "master:" not in line))
        (shared / "sub").mkdir()
        engine.sandbox.run(["mount", "-t", "tmpfs", "none", shared / "sub"])
        seen = " /m/sub " in container.exec(["cat", "/proc/self/mountinfo"])[1]
        assert seen == bool(tag)
        assert container.inspect()["Mounts"][0]["Propagation"] == mode
        container.kill()
        container.wait()
    finally:
        engine.sandbox.run(["umount", "-R", "-l", shared], check=False)


def test_recursive_and_not(engine, shared):
    (shared / "sub").mkdir()
    engine.sandbox.run(["mount", "-t", "tmpfs", "none", shared / "sub"])
    engine.sandbox.run(["touch", shared / "sub/inner"])
    try:
        assert "inner" in engine.output("ls /m/sub", host={"Binds": [f"{shared}:/m"]})
        plain = {"Type": "bind", "Source": str(shared), "Target": "/m", "BindOptions": {"NonRecursive": True}}
        assert engine.output("ls /m/sub", host={"Mounts": [plain]}) == ""
    finally:
        engine.sandbox.run(["umount", "-l", shared / "sub"], check=False)


def test_named_volume_lives_on(engine):
    engine.output("echo kept > /v/file", host={"Binds": ["keep:/v"]})
    assert engine.output("cat /v/file", host={"Binds": ["keep:/v"]}) == "kept\n"
    assert engine.output("echo x > /v/file || echo refused", host={"Binds": ["keep:/v:ro"]}) == "refused\n"
    found = volumes(engine)["keep"]
    assert found["Driver"] == "local" and found["Scope"] == "local"
    assert found["Mountpoint"] == str(engine.data_root / "volumes/keep/_data")


def test_copy_up(engine):
    """A new volume gets what the image has there, with owners and modes; a used one keeps its own."""
    out = engine.output("cat /data/seed; stat -c '%u:%g %a' /data/seed /data/sub; readlink /data/link", host={"Binds": ["up:/data"]})
    assert out == "from the image\n1000:1000 640\n1001:1001 700\nseed\n"
    engine.output("rm /data/seed; echo other > /data/mine", host={"Binds": ["up:/data"]})
    assert engine.output("ls /data", host={"Binds": ["up:/data"]}).split() == ["link", "mine", "sub"]
    assert engine.output("ls /data", host={"Binds": ["none-up:/data:nocopy"]}) == ""
    assert engine.output("ls /data", host={"Mounts": [{"Type": "volume", "Source": "none-up2", "Target": "/data",
                                                       "VolumeOptions": {"NoCopy": True}}]}) == ""


def test_anonymous_volumes(engine):
    container = engine.create("echo x > /v/file", Volumes={"/v": {}, "/data": {}})
    found = {m["Destination"]: m for m in container.inspect()["Mounts"]}
    assert set(found) == {"/v", "/data"}
    for mount in found.values():
        assert mount["Type"] == "volume" and len(mount["Name"]) == 64 and mount["Driver"] == "local" and mount["RW"]
    container.start()
    container.wait()
    assert (engine.data_root / "volumes" / found["/v"]["Name"] / "_data/file").read_text() == "x\n"
    assert (engine.data_root / "volumes" / found["/data"]["Name"] / "_data/seed").exists()


def test_a_bind_replaces_the_images_volume(engine, shared):
    container = engine.create(Volumes={"/v": {}}, host={"Binds": [f"{shared}:/v"]})
    assert [m["Type"] for m in container.inspect()["Mounts"]] == ["bind"]


def test_volumes_from(engine):
    first = engine.create(host={"Binds": ["from:/v"]}, Volumes={"/anonymous": {}})
    second = engine.create("ls -d /v /anonymous; echo x > /v/f || echo refused", host={"VolumesFrom": [f"{first.id}:ro"]})
    second.start()
    second.wait()
    assert second.logs()[0] == "/anonymous\n/v\nrefused\n"


def test_mount_of_a_volume(engine):
    mount = {"Type": "volume", "Source": "by-mount", "Target": "/v", "VolumeOptions": {"Labels": {"a": "b"}}}
    container = engine.start_container("echo hi > /v/x", host={"Mounts": [mount]})
    container.wait()
    assert volumes(engine)["by-mount"]["Labels"] == {"a": "b"}
    assert container.inspect()["Mounts"][0]["Name"] == "by-mount"


def test_tmpfs(engine):
    out = engine.output("grep ' /t ' /proc/self/mountinfo; df -k /t | tail -1; stat -c %a /t; touch /t/x && echo fine",
                        host={"Tmpfs": {"/t": "size=2m,mode=700"}})
    assert "tmpfs" in out and "noexec" in out and "nosuid" in out and "nodev" in out
    assert " 2048 " in out and "\n700\n" in out and "fine" in out
    assert "noexec" not in engine.output("grep ' /t ' /proc/self/mountinfo", host={"Tmpfs": {"/t": "exec"}})


def test_tmpfs_modes(engine):
    """A directory's own mode, and where there was no directory everybody may write."""
    out = engine.output("stat -c %a /etc /new && touch /new/x && echo fine", User="1000:1000", host={"Tmpfs": {"/new": "", "/etc": ""}})
    assert out == "755\n1777\nfine\n"


def test_tmpfs_mount(engine):
    mount = {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o750}}
    out = engine.output("df -k /t | tail -1; stat -c %a /t", host={"Mounts": [mount]})
    assert " 1024 " in out and out.endswith("750\n")


def test_nested_targets_in_any_order(engine, shared):
    out = engine.output("cat /a/b/file; touch /a/b/c/x && ls -d /a/b/c/x", host={
        "Binds": [f"{shared}:/a/b"], "Tmpfs": {"/a/b/c": "", "/a": ""}})
    assert out == "host\n/a/b/c/x\n"


def test_dev_and_proc_are_not_reachable_by_a_bind(engine, shared):
    for target in ("/proc", "/proc/1", "/proc/self/fd"):
        answer = engine.api.post("/containers/create", {
            "Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", "Binds": [f"{shared}:{target}"]}})
        if answer.status == 201:
            answer = engine.api.post(f"/containers/{answer.json['Id']}/start")
        assert answer.status >= 400, target


def test_volume_api(engine):
    api = engine.api
    made = api.post("/volumes/create", {"Name": "api", "Labels": {"k": "v"}, "DriverOpts": {}}, expect=201).json
    assert made["Name"] == "api" and made["Driver"] == "local" and made["Labels"] == {"k": "v"}
    again = api.post("/volumes/create", {"Name": "api"}, expect=201).json
    assert again["CreatedAt"] == made["CreatedAt"]
    found = api.get("/volumes/api", expect=200).json
    assert found["Mountpoint"] == made["Mountpoint"]
    anonymous = api.post("/volumes/create", {}, expect=201).json
    assert len(anonymous["Name"]) == 64
    assert api.get("/volumes/none", expect=404).message == "get none: no such volume"
    api.delete("/volumes/api", expect=204)
    api.delete("/volumes/api", expect=404)
    api.delete("/volumes/api", force=True, expect=204)


def test_volume_options(engine):
    """The local driver mounts what its options say."""
    engine.api.post("/volumes/create", {"Name": "opt", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=3m"}}, expect=201)
    assert " 3072 " in engine.output("df -k /v | tail -1", host={"Binds": ["opt:/v"]})
    assert engine.api.get("/volumes/opt").json["Options"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=3m"}


@pytest.mark.parametrize("body, status", [({"Name": "bad/name"}, 400), ({"Name": "x"}, 400), ({"Driver": "nonsense"}, None),
                                          ({"Name": "okk", "DriverOpts": {"nonsense": "1"}}, 400)])
def test_volume_refused(engine, body, status):
    answer = engine.api.post("/volumes/create", body)
    assert answer.status >= 400
    assert status is None or answer.status in ((status, 500) if engine.is_reference else (status,))


def test_volume_in_use(engine):
    container = engine.create(host={"Binds": ["used:/v"]})
    message = engine.api.delete("/volumes/used", expect=409).message
    assert message == f"remove used: volume is in use - [{container.id}]"


def test_volume_filters(engine):
    for name, labels in (("fa", {"k": "1"}), ("fb", {"k": "2"}), ("gc", {})):
        engine.api.post("/volumes/create", {"Name": name, "Labels": labels}, expect=201)
    engine.create(host={"Binds": ["fa:/v"]})

    def names(**filters):
        return sorted(v["Name"] for v in engine.api.get("/volumes", filters=filters, expect=200).json["Volumes"] or [])

    assert names(name=["f"]) == ["fa", "fb"]
    assert names(label=["k"]) == ["fa", "fb"]
    assert names(label=["k=2"]) == ["fb"]
    assert names(dangling=["true"]) == ["fb", "gc"]
    assert names(dangling=["false"]) == ["fa"]
    assert names(driver=["local"]) == ["fa", "fb", "gc"]
    assert names(driver=["other"]) == []
    assert engine.api.get("/volumes", filters={"nonsense": ["1"]}).status == 400


def test_volume_prune(engine):
    engine.api.post("/volumes/create", {"Name": "prune-me", "Labels": {"k": "1"}}, expect=201)
    engine.create(host={"Binds": ["used:/v"]})
    answer = engine.api.post("/volumes/prune", expect=200).json
    assert answer["VolumesDeleted"] == ["prune-me"]
    assert list(volumes(engine)) == ["used"]


def test_symlink_in_a_volume_does_not_lead_out(engine, shared):
    """A link that one container leaves in a volume is not followed on the host by the next mount."""
    engine.output("ln -s /etc /v/evil", host={"Binds": ["links:/v"]})
    out = engine.output("ls /x/evil/ | head -100", host={"Binds": ["links:/x"], "Tmpfs": {"/x/evil/sub": ""}})
    assert "shadow" not in out
    assert not os.path.exists("/etc/sub")
