"""Volume plugins by Docker's protocol, with a plugin in Python."""

import json

from harness.engine import wait_until

KIND = "VolumeDriver"


def create(engine, driver, name=None, expect=201, **options):
    body = {"Driver": driver, **({"Name": name} if name else {}), **options}
    return engine.api.post("/volumes/create", body, expect=expect).json


def test_create_inspect_list_remove(engine, plugin):
    driver = plugin(KIND, "global")
    made = create(engine, driver.name, "plugged", DriverOpts={"size": "3"}, Labels={"a": "b"})
    assert made["Name"] == "plugged" and made["Driver"] == driver.name
    shown = engine.api.get("/volumes/plugged", expect=200).json
    assert shown["Scope"] == "global" and shown["Status"] == {"opts": {"size": "3"}} and shown["Labels"] == {"a": "b"}
    assert shown["Options"] == {"size": "3"} and shown["CreatedAt"] == "2020-02-03T04:05:06Z"
    listed = engine.api.get("/volumes", filters=json.dumps({"driver": [driver.name]}), expect=200).json
    assert [v["Name"] for v in listed["Volumes"]] == ["plugged"] and listed["Volumes"][0]["Labels"] == {"a": "b"}
    assert driver.calls("VolumeDriver.Create") == [("VolumeDriver.Create", {"Name": "plugged", "Opts": {"size": "3"}})]
    # Once more: it is there.
    create(engine, driver.name, "plugged")
    assert len(driver.calls("VolumeDriver.Create")) == 1
    engine.api.delete("/volumes/plugged", expect=204)
    assert driver.calls("VolumeDriver.Remove") == [("VolumeDriver.Remove", {"Name": "plugged"})]
    message = engine.api.get("/volumes/plugged", expect=404).json["message"]
    assert message == "get plugged: no such volume"


def test_an_anonymous_volume_of_a_plugin(engine, plugin):
    driver = plugin(KIND)
    made = create(engine, driver.name)
    assert len(made["Name"]) == 64 and made["Driver"] == driver.name
    engine.api.delete(f"/volumes/{made['Name']}", expect=204)


def test_a_container_mounts_and_unmounts(engine, plugin):
    driver = plugin(KIND)
    container = engine.create("echo written > /v/file; cat /v/seen", host={"Binds": ["mounted:/v"], "VolumeDriver": driver.name})
    (driver.directory / "mnt/mounted/seen").write_text("from the plugin\n")
    assert container.inspect()["Mounts"][0]["Driver"] == driver.name
    container.start()
    assert container.wait() == 0 and container.logs()[0] == "from the plugin\n"
    assert (driver.directory / "mnt/mounted/file").read_text() == "written\n"
    wait_until(lambda: driver.users("mounted") == [], what="the unmount")
    mounts = [a["ID"] for m, a in driver.calls("VolumeDriver.Mount")]
    assert sorted(mounts) == sorted(a["ID"] for m, a in driver.calls("VolumeDriver.Unmount"))
    message = engine.api.delete("/volumes/mounted", expect=409).json["message"]
    assert message == f"remove mounted: volume is in use - [{container.id}]"
    container.remove()
    engine.api.delete("/volumes/mounted", expect=204)


def test_two_containers_two_users(engine, plugin):
    driver = plugin(KIND)
    create(engine, driver.name, "both")
    one, two = (engine.start_container(host={"Binds": ["both:/v"]}) for _ in range(2))
    assert len(driver.users("both")) == 2
    one.exec("echo x > /v/shared")
    assert two.exec("cat /v/shared")[1] == "x\n"
    one.kill()
    wait_until(lambda: len(driver.users("both")) == 1, what="the first unmount")
    two.remove(force=True)
    wait_until(lambda: driver.users("both") == [], what="the second unmount")


def test_an_empty_volume_is_filled_from_the_image(engine, plugin):
    driver = plugin(KIND)
    engine.create(host={"Binds": ["filled:/data"], "VolumeDriver": driver.name})
    assert (driver.directory / "mnt/filled/seed").exists()
    assert driver.users("filled") == []
    engine.create(host={"Binds": ["bare:/data:nocopy"], "VolumeDriver": driver.name})
    assert not list((driver.directory / "mnt/bare").iterdir())


def test_mounts_of_the_new_form(engine, plugin):
    driver = plugin(KIND)
    mount = {"Type": "volume", "Source": "new-form", "Target": "/v", "ReadOnly": True,
             "VolumeOptions": {"DriverConfig": {"Name": driver.name, "Options": {"k": "v"}}, "Labels": {"l": "m"}}}
    container = engine.start_container("echo x > /v/y || echo refused", host={"Mounts": [mount]})
    container.wait()
    assert container.logs()[0] == "refused\n"
    assert engine.api.get("/volumes/new-form", expect=200).json["Options"] == {"k": "v"}
    other = engine.create(host={"VolumesFrom": [container.id]})
    assert other.inspect()["Mounts"][0]["Driver"] == driver.name


def test_an_unknown_driver(engine):
    message = create(engine, "no-such-driver", "x1", expect=404)["message"]
    assert message == 'create x1: error looking up volume plugin no-such-driver: plugin "no-such-driver" not found'


def test_a_plugin_of_another_kind(engine, plugin):
    driver = plugin("NetworkDriver")
    body = {"Driver": driver.name, "Name": "x1"}
    answer = engine.api.post("/volumes/create", body)
    assert "plugin does not implement the requested driver" in answer.json["message"].lower(), answer.json


def test_names_are_unique_over_drivers(engine, plugin):
    driver = plugin(KIND)
    create(engine, "local", "taken")
    message = create(engine, driver.name, "taken", expect=409)["message"]
    assert message == "create taken: driver 'local' already has volume 'taken': volume name must be unique"
    # Without a driver the volume is whoever's it is.
    create(engine, driver.name, "theirs")
    assert create(engine, "", "theirs")["Driver"] == driver.name


def test_errors_of_the_plugin(engine, plugin):
    driver = plugin(KIND)
    driver.answer("VolumeDriver.Create", status=500, body=json.dumps({"Err": "no space for you"}))
    answer = engine.api.post("/volumes/create", {"Driver": driver.name, "Name": "bad"}, expect=500)
    assert answer.json["message"] == "create bad: VolumeDriver.Create: no space for you"
    driver.answer("VolumeDriver.Create", status=200, body=json.dumps({"Err": "politely no"}))
    answer = engine.api.post("/volumes/create", {"Driver": driver.name, "Name": "bad"}, expect=500)
    assert answer.json["message"] == "create bad: politely no"
    driver.answer("VolumeDriver.Create")
    create(engine, driver.name, "good")
    driver.answer("VolumeDriver.Mount", status=500, body=json.dumps({"Err": "broken disk"}))
    container = engine.create(host={"Binds": ["good:/v"]})
    message = container.start(expect=500).json["message"]
    assert message.startswith("error while mounting volume '") and message.endswith("VolumeDriver.Mount: broken disk")
    driver.answer("VolumeDriver.Remove", status=500, body=json.dumps({"Err": "busy"}))
    container.remove()
    message = engine.api.delete("/volumes/good", expect=500).json["message"]
    assert message == "remove good: VolumeDriver.Remove: busy"
    driver.answer("VolumeDriver.Remove")
    engine.api.delete("/volumes/good", expect=204)


def test_volumes_that_only_the_plugin_knows(engine, plugin):
    driver = plugin(KIND)
    create(engine, driver.name, "seed")
    state = driver.state
    state["volumes"]["found"] = {"opts": {}, "users": [], "created": "2020-02-03T04:05:06Z"}
    (driver.directory / "state.json").write_text(json.dumps(state))
    (driver.directory / "mnt/found").mkdir()
    names = [v["Name"] for v in engine.api.get("/volumes", expect=200).json["Volumes"]]
    assert {"seed", "found"} <= set(names)
    assert engine.api.get("/volumes/found", expect=200).json["Driver"] == driver.name
    assert engine.output("echo here", host={"Binds": ["found:/v"]}) == "here\n"
    engine.api.delete("/volumes/found", expect=204)
    assert "found" not in driver.state["volumes"]
    engine.api.delete("/volumes/seed", expect=204)


def test_info_names_plugins_that_were_used(engine, plugin):
    driver = plugin(KIND)
    create(engine, driver.name, "used")
    plugins = engine.api.get("/info", expect=200).json["Plugins"]
    assert {"local", driver.name} <= set(plugins["Volume"])
    engine.api.delete("/volumes/used", expect=204)


def test_addresses_in_files(engine, plugin):
    port = 18731
    driver = plugin(KIND, listen=port, name="by-spec")
    engine.sandbox.run(["sh", "-c", f"echo tcp://127.0.0.1:{port} > /etc/docker/plugins/by-spec.spec"])
    create(engine, "by-spec", "spec-volume")
    assert driver.calls("VolumeDriver.Create")
    engine.api.delete("/volumes/spec-volume", expect=204)
    text = json.dumps({"Name": "by-json", "Addr": f"http://127.0.0.1:{port}"})
    engine.sandbox.run(["sh", "-c", f"echo '{text}' > /etc/docker/plugins/by-json.json"])
    create(engine, "by-json", "json-volume")
    engine.api.delete("/volumes/json-volume", expect=204)
    engine.sandbox.run(["sh", "-c", "rm /etc/docker/plugins/*"])


def test_tls_by_a_json_file(engine, plugin, authority, closing):
    from harness.plugin import Plugin
    port = 18732
    driver = closing(Plugin(engine, KIND, "tls", listen=port, name="by-tls"))
    pair = authority.issue("127.0.0.1")
    (driver.directory / "cert.pem").write_bytes(pair.cert.read_bytes())
    (driver.directory / "key.pem").write_bytes(pair.key.read_bytes())
    driver.start()
    authority_file = driver.directory / "ca.pem"
    authority_file.write_bytes(authority.cert.read_bytes())
    text = json.dumps({"Addr": f"https://127.0.0.1:{port}", "TLSConfig": {"CAFile": str(authority_file)}})
    engine.sandbox.run(["sh", "-c", f"echo '{text}' > /etc/docker/plugins/by-tls.json"])
    create(engine, "by-tls", "tls-volume")
    engine.api.delete("/volumes/tls-volume", expect=204)
    engine.sandbox.run(["sh", "-c", "rm /etc/docker/plugins/*"])


def test_a_plugin_that_is_away(engine, plugin):
    """Its volumes are shown as far as they are known, and nothing else suffers."""
    driver = plugin(KIND)
    create(engine, driver.name, "lonely", Labels={"k": "v"})
    driver.stop()
    listed = engine.api.get("/volumes", filters=json.dumps({"label": ["k=v"]}), timeout=60, expect=200).json
    assert [v["Name"] for v in listed["Volumes"]] == ["lonely"]
    assert [w for w in listed["Warnings"] if w.startswith(f"list {driver.name}: Post ")], listed
    message = engine.api.get("/volumes/lonely", timeout=60, expect=500).json["message"]
    assert message.startswith(f'get lonely: error while checking if volume "lonely" exists in driver "{driver.name}": Post ')
    # It comes back, and everything goes on.
    driver.start()
    assert engine.api.get("/volumes/lonely", expect=200).json["Name"] == "lonely"
    engine.api.delete("/volumes/lonely", expect=204)


def test_a_hostile_plugin(engine, plugin):
    driver = plugin(KIND)
    create(engine, driver.name, "victim")
    driver.answer("VolumeDriver.Mount", body=json.dumps({"Mountpoint": "../../etc"}))
    container = engine.create(host={"Binds": ["victim:/v"]})
    assert container.start(expect=None).status in (400, 500)
    driver.answer("VolumeDriver.Mount", body="[" * 100000)
    assert container.start(expect=None).status in (400, 500)
    container.remove()
    driver.answer("VolumeDriver.Mount")
    engine.api.delete("/volumes/victim", expect=204)


def test_a_restart_of_the_daemon_keeps_the_mount(own_engine, closing):
    from harness.plugin import Plugin
    engine = own_engine()
    if engine.is_reference:
        return restart_of_the_reference(engine, closing)
    driver = closing(Plugin(engine, KIND)).start()
    create(engine, driver.name, "kept")
    container = engine.start_container(host={"Binds": ["kept:/v"]})
    engine.kill()
    engine.start()
    assert len(driver.users("kept")) == 1 and container.exec("touch /v/x")[0] == 0
    container.kill()
    wait_until(lambda: driver.users("kept") == [], what="the unmount")
    container.start()
    # It ends while nobody watches; the next daemon tells the plugin.
    engine.kill()
    engine.sandbox.run(["kill", "-9", str(container_pid(engine, container))])
    engine.start()
    wait_until(lambda: driver.users("kept") == [], what="the unmount after the restart")


def container_pid(engine, container):
    """Its init process as the sandbox numbers it."""
    shim = (engine.exec_root / "containers" / container.id / "shim.pid").read_text().split()[0]
    return int((engine.sandbox.proc(shim) / "task" / shim / "children").read_text().split()[0])


def restart_of_the_reference(engine, closing):
    """Docker without live-restore ends its containers, and unmounts."""
    from harness.plugin import Plugin
    driver = closing(Plugin(engine, KIND)).start()
    create(engine, driver.name, "kept")
    engine.start_container(host={"Binds": ["kept:/v"]})
    engine.stop()
    assert driver.users("kept") == []


def test_old_versions(engine, plugin, version):
    driver = plugin(KIND)
    create(engine, driver.name, "old")
    api = engine.api.at(version)
    assert api.get("/volumes/old", expect=200).json["Driver"] == driver.name
    api.delete("/volumes/old", expect=204)
