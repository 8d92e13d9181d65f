"""The local driver's `type`, `o`, `device` and `size`."""

import pytest


def create(engine, name, expect=201, **options):
    return engine.api.post("/volumes/create", {"Name": name, "DriverOpts": options}, expect=expect).json


def tmpfs(engine, name, o=""):
    return create(engine, name, type="tmpfs", device="tmpfs", **({"o": o} if o else {}))


def test_a_tmpfs_is_shared(engine):
    """It is mounted once for all containers that use it."""
    tmpfs(engine, "ram", "size=2m,mode=1770")
    one, two = (engine.start_container(host={"Binds": ["ram:/r"]}) for _ in range(2))
    one.exec("echo shared > /r/file")
    assert two.exec("cat /r/file")[1] == "shared\n"
    assert two.exec("stat -c %a /r; df -k /r | tail -1 | awk '{print $2}'")[1] == "1770\n2048\n"
    assert " - tmpfs " in next(x for x in two.exec("cat /proc/self/mountinfo")[1].splitlines() if " /r " in x)
    # It is there as long as somebody uses it, and no longer.
    one.remove(force=True)
    three = engine.start_container(host={"Binds": ["ram:/r"]})
    assert three.exec("cat /r/file")[1] == "shared\n"
    two.remove(force=True)
    three.remove(force=True)
    if not engine.is_reference:
        assert not [m for m in engine.sandbox.mounts() if "/volumes/ram/" in m]
    four = engine.start_container(host={"Binds": ["ram:/r"]})
    assert four.exec("ls /r")[1] == ""


def test_a_tmpfs_survives_the_daemon(own_engine):
    engine = own_engine()
    if engine.is_reference:
        # Its containers end with it.
        return
    tmpfs(engine, "ram")
    one = engine.start_container(host={"Binds": ["ram:/r"]})
    one.exec("echo before > /r/file")
    engine.kill()
    engine.start()
    two = engine.start_container(host={"Binds": ["ram:/r"]})
    assert two.exec("cat /r/file")[1] == "before\n"
    # Also when the one that mounted it is gone.
    one.remove(force=True)
    three = engine.start_container(host={"Binds": ["ram:/r"]})
    assert three.exec("cat /r/file")[1] == "before\n"
    for container in (two, three):
        container.remove(force=True)
    fresh = engine.start_container("ls /r | wc -l", host={"Binds": ["ram:/r"]})
    fresh.wait()
    assert fresh.logs()[0].strip() == "0"


def test_copies_in_and_out_of_a_tmpfs(engine):
    tmpfs(engine, "ram")
    container = engine.start_container(host={"Binds": ["ram:/r"]})
    container.exec("echo live > /r/file")
    stat = engine.api.request("HEAD", f"{container.path}/archive?path=/r/file")
    assert stat.status == 200
    assert b"live" in engine.api.get(f"{container.path}/archive", path="/r/file", expect=200).body


def test_read_only_and_flags(engine):
    tmpfs(engine, "ro", "ro,noexec")
    container = engine.start_container("echo x > /r/f || echo refused; grep ' /r ' /proc/self/mountinfo", host={"Binds": ["ro:/r"]})
    container.wait()
    out = container.logs()[0]
    assert out.startswith("refused\n") and "noexec" in out
    # The file system itself does not write either.
    assert "ro" in out.split(" - ")[1].split()[2].split(",")
    tmpfs(engine, "words", "shared,size=1m,noatime")
    assert "noatime" in engine.output("grep ' /r ' /proc/self/mountinfo", host={"Binds": ["words:/r"]})


def test_a_bind(engine):
    directory = engine.dir / engine.name("device")
    directory.mkdir()
    create(engine, "bound", type="none", o="bind", device=str(directory))
    engine.output("echo x > /b/file", host={"Binds": ["bound:/b"]})
    assert (directory / "file").read_text() == "x\n"
    create(engine, "bound-ro", type="none", o="bind,ro", device=str(directory))
    container = engine.start_container("cat /b/file; echo y > /b/file || echo refused", host={"Binds": ["bound-ro:/b"]})
    container.wait()
    assert container.logs()[0] == "x\nrefused\n"
    engine.api.delete(f"{container.path}", expect=204)
    engine.api.delete("/volumes/bound-ro", expect=204)
    assert (directory / "file").exists()


def test_a_bind_is_filled_from_the_image(engine):
    directory = engine.dir / engine.name("device")
    directory.mkdir()
    create(engine, "filled", type="none", o="bind", device=str(directory))
    assert engine.output("cat /data/seed", host={"Binds": ["filled:/data"]}) == "from the image\n"
    assert (directory / "seed").exists()


def test_what_cannot_be_mounted(engine):
    create(engine, "nowhere", type="none", o="bind", device="/no/such/dir")
    container = engine.create(host={"Binds": ["nowhere:/b"]})
    message = container.start(expect=500).json["message"]
    place = engine.data_root / "volumes/nowhere/_data"
    assert message == (f"error while mounting volume '{place}': failed to mount local volume: mount /no/such/dir:{place}, "
                       "flags: 0x1000: no such file or directory")
    assert container.inspect()["State"]["Status"] == "created"
    tmpfs(engine, "wrong", "size=nonsense")
    message = engine.create(host={"Binds": ["wrong:/b"]}).start(expect=500).json["message"]
    place = engine.data_root / "volumes/wrong/_data"
    assert message.startswith(f"error while mounting volume '{place}': failed to mount local volume: mount tmpfs:{place}, data: size=nonsense: invalid argument")
    create(engine, "unknown", type="nosuchfs", device="x")
    message = engine.create(host={"Binds": ["unknown:/b"]}).start(expect=500).json["message"]
    assert "no such device" in message
    # Where the image has something to copy, the mount is tried at the creation.
    body = {"Image": "busybox:e2e", "Cmd": ["true"], "HostConfig": {"Binds": ["nowhere:/data"]}}
    message = engine.api.post("/containers/create", body, expect=500).json["message"]
    assert "failed to mount local volume: mount /no/such/dir:" in message


def test_nfs_syntax(engine):
    """There is no NFS in the kernel of the machines that build this: what is told is the way to the mount."""
    create(engine, "nfs", type="nfs", o="addr=no-such-host.invalid,rw", device=":/export")
    message = engine.create(host={"Binds": ["nfs:/b"]}).start(expect=500, timeout=60).json["message"]
    assert "error resolving passed in network volume address: lookup no-such-host.invalid" in message
    create(engine, "nfs-ip", type="nfs", o="addr=127.0.0.1,vers=3,nolock,soft,timeo=1,retrans=1", device=":/export")
    message = engine.create(host={"Binds": ["nfs-ip:/b"]}).start(expect=500, timeout=60).json["message"]
    assert "failed to mount local volume: mount :/export:" in message and "data: addr=127.0.0.1,vers=3" in message
    create(engine, "nfs-name", type="nfs", o="addr=localhost,nfsvers=4,ro,noatime,soft", device=":/export")
    message = engine.create(host={"Binds": ["nfs-name:/b"]}).start(expect=500, timeout=60).json["message"]
    place = engine.data_root / "volumes/nfs-name/_data"
    assert f"mount :/export:{place}, flags: 0x401, data: addr=127.0.0.1,nfsvers=4,soft: " in message


def test_a_password_is_not_told(engine):
    create(engine, "smb", type="cifs", o="username=u,password=secret,addr=127.0.0.1", device="//127.0.0.1/share")
    message = engine.create(host={"Binds": ["smb:/b"]}).start(expect=500, timeout=60).json["message"]
    # 20.10 tells everybody.
    assert engine.is_reference or ("secret" not in message and "password=********" in message)


@pytest.mark.parametrize("options, text", [
    ({"foo": "bar"}, 'invalid option: "foo"'),
    ({"type": "tmpfs"}, 'missing required option: "device"'),
    ({"device": "tmpfs"}, 'missing required option: "type"'),
    ({"size": "10m"}, "quota size requested but no quota support"),
    ({"size": "ten"}, "invalid size: 'ten'"),
    ({"type": "cifs", "device": "//host:445/share"}, "port not allowed in CIFS device URL, include 'port' in 'o='"),
])
def test_options_that_make_no_sense(engine, options, text):
    if engine.is_reference and "cifs" in options.values():
        return
    # 20.10 takes a size that is none for its own fault.
    status = (400, 500) if engine.is_reference else 400
    assert create(engine, "bad", expect=status, **options)["message"] == f"create bad: {text}"
    assert engine.api.get("/volumes/bad").status == 404


def test_options_are_shown(engine):
    tmpfs(engine, "shown", "size=1m")
    shown = engine.api.get("/volumes/shown", expect=200).json
    assert shown["Options"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    assert shown["Mountpoint"] == str(engine.data_root / "volumes/shown/_data")


def test_a_tmpfs_by_a_mount_of_the_new_form(engine):
    mount = {"Type": "volume", "Target": "/r", "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": {
        "type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}}}
    container = engine.start_container(host={"Mounts": [mount]})
    assert container.exec("df -k /r | tail -1 | awk '{print $2}'")[1] == "1024\n"
    container.remove(force=True, v=True)


def test_subpath_of_a_tmpfs(engine):
    if engine.is_reference:
        return
    tmpfs(engine, "ram")
    keeper = engine.start_container(host={"Binds": ["ram:/r"]})
    keeper.exec("mkdir -p /r/a/b; echo in > /r/a/b/file; ln -s /etc /r/bad")
    api = engine.api.at("1.45")
    mount = {"Type": "volume", "Source": "ram", "Target": "/m", "VolumeOptions": {"Subpath": "a/b"}}
    assert engine.output("cat /m/file", api=api, host={"Mounts": [mount]}) == "in\n"
    mount["VolumeOptions"] = {"Subpath": "bad"}
    assert engine.create(api=api, host={"Mounts": [mount]}).start(expect=None).status >= 400
