"""Every option of binds, of mounts of each type, and what is said to those that make no sense."""

import pytest

from harness.engine import IMAGE, wait_until


@pytest.fixture
def shared(engine):
    """A directory of the engine's host with a file in it."""
    path = engine.dir / engine.name("shared")
    path.mkdir()
    (path / "file").write_text("host\n")
    return path


@pytest.fixture
def nested(engine, shared):
    """The same with a file system mounted below."""
    (shared / "sub").mkdir()
    engine.sandbox.run(["mount", "-t", "tmpfs", "none", shared / "sub"])
    yield shared
    engine.sandbox.run(["umount", "-l", shared / "sub"], check=False)


def refused(engine, api=None, **host):
    """The message of a creation that is refused."""
    answer = (api or engine.api).post("/containers/create", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": host})
    # 20.10 takes some of its clients' mistakes for its own.
    assert answer.status == 400 or engine.is_reference and answer.status == 500, (answer.status, answer.json)
    return answer.json["message"]


@pytest.mark.parametrize("mode", ["ro", "rw", "z", "Z", "ro,z", "rw,Z,rprivate", "cached", "delegated", "consistent", "ro,cached", "private"])
def test_modes_of_binds(engine, shared, mode):
    container = engine.start_container("cat /m/file; touch /m/new 2>/dev/null && echo written", host={"Binds": [f"{shared}:/m:{mode}"]})
    container.wait()
    readonly = "ro" in mode.split(",")
    assert container.logs()[0] == "host\n" + ("" if readonly else "written\n")
    mount = container.inspect()["Mounts"][0]
    assert mount["Mode"] == mode and mount["RW"] == (not readonly)
    assert mount["Propagation"] == ("private" if mode == "private" else "rprivate")


@pytest.mark.parametrize("mode", ["ro", "rw", "z", "nocopy", "ro,nocopy", "Z,cached"])
def test_modes_of_volumes(engine, mode):
    out = engine.output("ls /data", host={"Binds": [f"moded:/data:{mode}"]})
    assert ("seed" in out) == ("nocopy" not in mode)


@pytest.mark.parametrize("bind, text", [
    ("/x:/y:zz", "invalid mode: zz"),
    ("/x:/y:ro,rw", "invalid mode: ro,rw"),
    ("/x:/y:z,Z", "invalid mode: z,Z"),
    ("/x:/y:shared,slave", "invalid mode: shared,slave"),
    ("/x:/y:cached,delegated", "invalid mode: cached,delegated"),
    ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
    ("/y:rw", "invalid volume specification: '/y:rw'"),
    (":/y", "invalid volume specification: ':/y'"),
    ("/x:/", "invalid volume specification: '/x:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"),
    ("/x:y", "invalid volume specification: '/x:y': invalid mount config for type \"bind\": invalid mount path: 'y' mount path must be absolute"),
    ("vv:/y:shared", "invalid volume specification: 'vv:/y:shared': invalid mount config for type \"volume\": field BindOptions must not be specified"),
])
def test_binds_that_make_no_sense(engine, bind, text):
    assert refused(engine, Binds=[bind]) == text


def test_two_mounts_at_one_place(engine, shared):
    assert refused(engine, Binds=[f"{shared}:/m", f"{shared}:/m/"]) == "Duplicate mount point: /m"
    mount = {"Type": "tmpfs", "Target": "/m"}
    assert refused(engine, Binds=[f"{shared}:/m"], Mounts=[mount]) == "Duplicate mount point: /m"


@pytest.mark.parametrize("mode, kind", [("shared", "shared"), ("rshared", "shared"), ("slave", "shared or slave"), ("rslave", "shared or slave")])
def test_propagation_needs_a_mount_that_has_it(engine, shared, mode, kind):
    engine.sandbox.run(["mount", "--bind", shared, shared])
    engine.sandbox.run(["mount", "--make-private", shared])
    try:
        container = engine.create(host={"Binds": [f"{shared}:/m:{mode}"]})
        message = container.start(expect=None).json["message"]
        assert f"path {shared} is mounted on {shared} but it is not a {kind} mount" in message
    finally:
        engine.sandbox.run(["umount", "-l", shared], check=False)


def test_shared_goes_both_ways(engine, shared):
    engine.sandbox.run(["mount", "--bind", shared, shared])
    engine.sandbox.run(["mount", "--make-shared", shared])
    try:
        container = engine.start_container(host={"Binds": [f"{shared}:/m:rshared"], "CapAdd": ["SYS_ADMIN"], "SecurityOpt": ["seccomp=unconfined"]})
        container.exec("mkdir /m/inner && mount -t tmpfs none /m/inner && touch /m/inner/seen")
        assert "seen" in engine.sandbox.run(["ls", shared / "inner"]).stdout
        container.remove(force=True)
    finally:
        engine.sandbox.run(["umount", "-R", "-l", shared], check=False)


@pytest.mark.parametrize("mode", ["private", "slave", "rslave", "rprivate"])
def test_what_is_below_leads_nowhere(engine, nested, mode):
    """`private` and `slave` speak of one mount; those below it are the host's copies, in which a container mounts for itself."""
    engine.sandbox.run(["mount", "--bind", nested, nested])
    engine.sandbox.run(["mount", "--make-rshared", nested])
    engine.sandbox.run(["mount", "-t", "tmpfs", "none", nested / "sub"])
    engine.sandbox.run(["mkdir", nested / "sub/inner", nested / "sub/later"])
    try:
        container = engine.start_container(host={"Binds": [f"{nested}:/m:{mode}"], "CapAdd": ["SYS_ADMIN"],
                                                 "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"]})
        assert container.exec("mount -t tmpfs none /m/sub/inner && touch /m/sub/inner/own")[0] == 0
        assert engine.sandbox.run(["ls", nested / "sub/inner"]).stdout == ""
        # The host's mounts arrive, except where nothing does.
        engine.sandbox.run(["mount", "-t", "tmpfs", "none", nested / "sub/later"])
        arrived = container.exec("grep -c ' /m/sub/later ' /proc/self/mountinfo")[1].strip()
        assert arrived == ("0" if mode == "rprivate" else "1")
        container.remove(force=True)
    finally:
        engine.sandbox.run(["umount", "-R", "-l", nested], check=False)


def test_read_only_and_mounts_below(engine, nested):
    """Recursive since 1.44, unless told otherwise."""
    command = "touch /m/sub/x 2>/dev/null && echo written || echo refused"
    plain = {"Type": "bind", "Source": str(nested), "Target": "/m", "ReadOnly": True}
    if engine.is_reference:
        assert engine.output(command, host={"Mounts": [plain]}) == "written\n"
        return
    api = engine.api.at("1.44")
    for options, out in [({}, "refused\n"), ({"ReadOnlyForceRecursive": True}, "refused\n"), ({"ReadOnlyNonRecursive": True}, "written\n")]:
        assert engine.output(command, api=api, host={"Mounts": [{**plain, "BindOptions": options}]}) == out, options
    text = 'invalid mount config for type "bind": mount options conflict: '
    writable = {**plain, "ReadOnly": False}
    for mount, why in [
        ({**plain, "BindOptions": {"ReadOnlyNonRecursive": True, "ReadOnlyForceRecursive": True}}, "ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"),
        ({**writable, "BindOptions": {"ReadOnlyNonRecursive": True}}, "!ReadOnly && BindOptions.ReadOnlyNonRecursive"),
        ({**writable, "BindOptions": {"ReadOnlyForceRecursive": True}}, "!ReadOnly && BindOptions.ReadOnlyForceRecursive"),
    ]:
        assert refused(engine, api, Mounts=[mount]) == text + why
    forced = {**plain, "BindOptions": {"ReadOnlyForceRecursive": True}}
    assert refused(engine, engine.api.at("1.43"), Mounts=[forced]) == "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"


def test_non_recursive(engine, nested):
    engine.sandbox.run(["touch", nested / "sub/inner"])
    mount = {"Type": "bind", "Source": str(nested), "Target": "/m"}
    assert engine.output("ls /m/sub", host={"Mounts": [mount]}) == "inner\n"
    assert engine.output("ls /m/sub", host={"Mounts": [{**mount, "BindOptions": {"NonRecursive": True}}]}) == ""


def test_the_source_of_a_bind(engine, shared):
    missing = shared / "not/there"
    mount = {"Type": "bind", "Source": str(missing), "Target": "/m"}
    assert refused(engine, Mounts=[mount]) == f'invalid mount config for type "bind": bind source path does not exist: {missing}'
    assert not missing.exists()
    if engine.is_reference:
        return
    made = {**mount, "BindOptions": {"CreateMountpoint": True}}
    engine.output("touch /m/x", api=engine.api.at("1.43"), host={"Mounts": [made]})
    assert (missing / "x").exists()
    other = {**made, "Source": str(shared / "other")}
    # It came with 1.42.
    assert "does not exist" in refused(engine, Mounts=[other])


@pytest.mark.parametrize("mount, text", [
    ({"Type": "npipe", "Source": "x", "Target": "/m"}, 'invalid mount config for type "npipe": mount type unknown'),
    ({"Type": "cluster", "Source": "x", "Target": "/m"}, 'invalid mount config for type "cluster": mount type unknown'),
    ({"Type": "foo", "Target": "/m"}, 'invalid mount config for type "foo": mount type unknown'),
    ({"Type": "bind", "Source": "/tmp"}, 'invalid mount config for type "bind": field Target must not be empty'),
    ({"Type": "bind", "Target": "/m"}, 'invalid mount config for type "bind": field Source must not be empty'),
    ({"Type": "bind", "Source": "rel", "Target": "/m"}, "invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute"),
    ({"Type": "bind", "Source": "/tmp", "Target": "/m", "VolumeOptions": {}}, 'invalid mount config for type "bind": field VolumeOptions must not be specified'),
    ({"Type": "bind", "Source": "/tmp", "Target": "/m", "BindOptions": {"Propagation": "zz"}}, 'invalid mount config for type "bind": invalid propagation mode: zz'),
    ({"Type": "volume", "Source": "vv", "Target": "/m", "BindOptions": {}}, 'invalid mount config for type "volume": field BindOptions must not be specified'),
    ({"Type": "volume", "Target": "/m", "ReadOnly": True}, 'invalid mount config for type "volume": must not set ReadOnly mode when using anonymous volumes'),
    ({"Type": "tmpfs", "Source": "x", "Target": "/m"}, 'invalid mount config for type "tmpfs": field Source must not be specified'),
    ({"Type": "tmpfs", "Target": "/m", "BindOptions": {}}, 'invalid mount config for type "tmpfs": field BindOptions must not be specified'),
    ({"Type": "tmpfs", "Target": "/"}, "invalid mount config for type \"tmpfs\": invalid specification: destination can't be '/'"),
])
def test_mounts_that_make_no_sense(engine, mount, text):
    assert refused(engine, Mounts=[mount]) == text


def test_tmpfs_of_mounts(engine):
    mount = {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 3 << 20, "Mode": 0o1750}}
    out = engine.output("stat -c %a /t; df -k /t | tail -1 | awk '{print $2}'; grep ' /t ' /proc/self/mountinfo", host={"Mounts": [mount]})
    lines = out.splitlines()
    assert lines[:2] == ["1750", "3072"] and all(flag in lines[2] for flag in ("nosuid", "nodev", "noexec"))
    mount = {"Type": "tmpfs", "Target": "/t", "ReadOnly": True}
    assert engine.output("touch /t/x 2>/dev/null || echo refused", host={"Mounts": [mount]}) == "refused\n"
    if engine.is_reference:
        return
    # 20.10 refuses it at the start.
    mount["TmpfsOptions"] = {"SizeBytes": -1}
    assert refused(engine, Mounts=[mount]) == 'invalid mount config for type "tmpfs": invalid size of a tmpfs: -1'
    api = engine.api.at("1.46")
    mount = {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"Options": [["exec"]]}}
    assert "noexec" not in engine.output("grep ' /t ' /proc/self/mountinfo", api=api, host={"Mounts": [mount]})
    mount["TmpfsOptions"] = {"Options": [["uid", "7"]]}
    assert refused(engine, api, Mounts=[mount]) == 'invalid mount config for type "tmpfs": invalid option: uid'
    mount["TmpfsOptions"] = {"Options": [["exec", "1", "2"]]}
    assert refused(engine, api, Mounts=[mount]) == 'invalid mount config for type "tmpfs": invalid option array length'


def test_tmpfs_by_its_text(engine):
    out = engine.output("stat -c '%a %u' /t; df -k /t | tail -1 | awk '{print $2}'; grep ' /t ' /proc/self/mountinfo",
                        host={"Tmpfs": {"/t": "size=2m,mode=700,uid=5,exec"}})
    lines = out.splitlines()
    assert lines[:2] == ["700 5", "2048"] and "noexec" not in lines[2]
    out = engine.output("grep ' /t ' /proc/self/mountinfo", host={"Tmpfs": {"/t": "noatime,nodiratime,sync,dirsync,rprivate"}})
    assert "noatime" in out and "nodiratime" in out and "sync" in out.split(" - ")[1] and "dirsync" in out
    for options in ("bogus", "huge=always", "size=none"):
        assert engine.create(host={"Tmpfs": {"/t": options}}).start(expect=None).status in (400, 500)


class TestImages:
    """Mounts of type `image`, since 1.48; the reference is older."""

    def mount(self, **more):
        return {"Type": "image", "Source": IMAGE, "Target": "/i", **more}

    def test_an_image_is_mounted(self, engine):
        if engine.is_reference:
            return
        api = engine.api.at("1.48")
        container = engine.create("cat /i/data/seed; touch /i/x 2>/dev/null || echo refused", api=api, host={"Mounts": [self.mount()]})
        container.start()
        container.wait()
        assert container.logs()[0] == "from the image\nrefused\n"
        shown = api.get(f"{container.path}/json", expect=200).json["Mounts"][0]
        assert shown["Type"] == "image" and shown["Name"] == IMAGE and shown["RW"] is False and shown["Destination"] == "/i"
        for subpath, command, out in [("data", "cat /i/seed", "from the image\n"), ("data/seed", "cat /i", "from the image\n")]:
            assert engine.output(command, api=api, host={"Mounts": [self.mount(ImageOptions={"Subpath": subpath})]}) == out
        missing = engine.create(api=api, host={"Mounts": [self.mount(ImageOptions={"Subpath": "no/such"})]})
        assert "cannot access path" in missing.start(expect=None).json["message"]
        text = 'invalid mount config for type "image": '
        assert refused(engine, api, Mounts=[self.mount(ImageOptions={"Subpath": "../x"})]) == text + "subpath must be a relative path within the volume"
        assert refused(engine, api, Mounts=[self.mount(Source="")]) == text + "field Source must not be empty"
        assert refused(engine, engine.api.at("1.47"), Mounts=[self.mount()]) == 'Mount type "Image" needs API v1.48 or newer'
        body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"Mounts": [self.mount(Source="no-such-image:x")]}}
        assert api.post("/containers/create", body).status == 404
        # Copying sees it, too.
        assert b"from the image" in api.get(f"{container.path}/archive", path="/i/data/seed", expect=200).body

    def test_its_layers_stay_as_long_as_the_container(self, own_engine):
        engine = own_engine()
        if engine.is_reference:
            return
        api = engine.api.at("1.48")
        seed = engine.create("echo kept > /kept")
        seed.start()
        seed.wait()
        engine.api.post("/commit", {}, container=seed.id, repo="mounted", tag="x", expect=201)
        container = engine.create("cat /i/kept", api=api, host={"Mounts": [self.mount(Source="mounted:x")]})
        engine.api.delete("/images/mounted:x", force=True, expect=200)
        engine.kill()
        engine.start()
        container.start()
        container.wait()
        assert container.logs()[0] == "kept\n"
        layers = len(list((engine.data_root / "layers").iterdir()))
        container.remove()
        seed.remove()
        wait_until(lambda: len(list((engine.data_root / "layers").iterdir())) < layers, what="the layers to go")
