"""`SecurityOpt` and the daemon's defaults: AppArmor, SELinux, seccomp profiles, new privileges."""

import json

import pytest

from harness.sandbox import cgroup_v2


def host_has(module):
    """Whether this kernel has a security module."""
    try:
        with open("/sys/kernel/security/lsm") as file:
            return module in file.read().split(",")
    except OSError:
        return False


def create(engine, options, **host):
    body = {"Image": "busybox:e2e", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", "SecurityOpt": options, **host}}
    return engine.api.post("/containers/create", body)


@pytest.mark.parametrize("option, profile", [("apparmor=mine", "mine"), ("apparmor:mine", "mine"), ("apparmor=unconfined", "unconfined")])
def test_apparmor_profiles_are_shown(engine, option, profile):
    answer = create(engine, [option])
    shown = engine.api.get(f"/containers/{answer.json['Id']}/json", expect=200).json
    assert shown["AppArmorProfile"] == profile and shown["HostConfig"]["SecurityOpt"] == [option]
    if not host_has("apparmor"):
        # Without the module it has no effect; Gantry says so.
        told = [w for w in answer.json["Warnings"] if "AppArmor" in w]
        assert len(told) == (0 if engine.is_reference or profile == "unconfined" else 1)
        engine.api.post(f"/containers/{answer.json['Id']}/start", expect=204)


def test_without_options(engine):
    shown = engine.create().inspect()
    assert shown["AppArmorProfile"] == ("docker-default" if host_has("apparmor") else "")
    assert shown["MountLabel"] == shown["ProcessLabel"] == ""
    assert not any("selinux" in option for option in engine.api.get("/info", expect=200).json["SecurityOptions"])


@pytest.mark.parametrize("options", [["label=disable"], ["label=type:svirt_t"], ["label=level:s0:c1,c2"],
                                     ["label:user:u", "label=role:r"], ["disable"], ["label=bad"]])
def test_labels_where_there_is_no_selinux(engine, options):
    answer = create(engine, options)
    assert answer.status == 201
    shown = engine.api.get(f"/containers/{answer.json['Id']}/json", expect=200).json
    assert shown["MountLabel"] == shown["ProcessLabel"] == "" and shown["HostConfig"]["SecurityOpt"] == options
    engine.api.post(f"/containers/{answer.json['Id']}/start", expect=204)


@pytest.mark.parametrize("host", [{"Privileged": True}, {"IpcMode": "host"}, {"PidMode": "host"}])
def test_who_sees_the_host_has_no_label(engine, host):
    shown = engine.create(host=host).inspect()
    assert shown["HostConfig"]["SecurityOpt"] == ["label=disable"]
    shown = engine.create(host={"SecurityOpt": ["label=type:x"], **host}).inspect()
    assert shown["HostConfig"]["SecurityOpt"] == ["label=type:x"]


@pytest.mark.parametrize("option, words", [
    ("apparmor", 'invalid --security-opt 1: "apparmor"'), ("foo=bar", 'invalid --security-opt 2: "foo=bar"'),
    ("no-new-privileges=foo", 'invalid --security-opt 2: "no-new-privileges=foo"'),
    ("systempaths=unconfined", 'invalid --security-opt 2: "systempaths=unconfined"'),
])
def test_words_that_mean_nothing(engine, option, words):
    answer = create(engine, [option])
    # The reference calls it its own mistake.
    assert answer.status == (500 if engine.is_reference else 400) and answer.json["message"] == words


@pytest.mark.parametrize("mode", ["hyperv", "process"])
def test_isolation(engine, mode):
    answer = create(engine, None, Isolation=mode)
    assert answer.status == (500 if engine.is_reference else 400)
    assert answer.json["message"] == f"Invalid isolation: \"{mode}\" - linux only supports 'default'"
    assert create(engine, None, Isolation="default").status == 201


def profile(*rules, default="SCMP_ACT_ALLOW", **more):
    return "seccomp=" + json.dumps({"defaultAction": default, "syscalls": list(rules), **more})


def rule(*names, action="SCMP_ACT_ERRNO", **more):
    return {"names": list(names), "action": action, **more}


@pytest.mark.parametrize("text, denied", [
    (profile(rule("mkdir", "mkdirat")), True),
    (profile(rule("mkdir", "mkdirat"), architectures=["SCMP_ARCH_X86_64"]), True),
    (profile(rule("mkdir", "mkdirat"), archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]), True),
    (profile(rule("mkdir", "mkdirat", includes={"caps": ["CAP_CHOWN"]})), True),
    (profile(rule("mkdir", "mkdirat", includes={"caps": ["CAP_SYS_ADMIN"]})), False),
    (profile(rule("mkdir", "mkdirat", excludes={"caps": ["CAP_CHOWN"]})), False),
    (profile(rule("mkdir", "mkdirat", includes={"arches": ["amd64"]})), True),
    (profile(rule("mkdir", "mkdirat", excludes={"arches": ["amd64"]})), False),
    (profile(rule("mkdir", "mkdirat", includes={"minKernel": "4.8"})), True),
    (profile(rule("mkdir", "mkdirat", includes={"minKernel": "99.0"})), False),
    ("seccomp={}", False),
])
def test_seccomp_profiles(engine, text, denied):
    code, _, err = engine.run("mkdir /made", host={"SecurityOpt": [text]})
    assert (code != 0) == denied and ("not permitted" in err) == denied, err


def test_seccomp_errno_and_arguments(engine):
    # 28 is ENOSPC; only a mode of 0700 is refused.
    refused = rule("mkdir", errnoRet=28, args=[{"index": 1, "value": 0o700, "valueTwo": 0, "op": "SCMP_CMP_EQ"}])
    out = engine.output("mkdir -m 0755 /a && echo made; (umask 077; mkdir /b 2>&1); true", host={"SecurityOpt": [profile(refused)]})
    # busybox asks for 0777 and changes the mode afterwards, so that neither is refused.
    assert out == "made\n"
    refused["args"][0]["value"] = 0o777
    out = engine.output("mkdir /a 2>&1; true", host={"SecurityOpt": [profile(refused)]})
    assert "No space left" in out


def test_seccomp_notifications_are_refused(engine):
    text = profile(rule("mkdir", action="SCMP_ACT_NOTIFY"), listenerPath="/tmp/x")
    answer = create(engine, [text])
    if answer.status == 201:
        answer = engine.api.post(f"/containers/{answer.json['Id']}/start")
    assert answer.status >= 400


def test_daemons_defaults(own_engine):
    def prepare(engine):
        path = engine.dir / "profile.json"
        path.write_text(profile(rule("mkdir", "mkdirat")).removeprefix("seccomp="))
        config = {"no-new-privileges": True, "seccomp-profile": str(path), "default-shm-size": "8m", "default-ipc-mode": "shareable",
                  "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 60, "Hard": 70}}, "init": True, "default-cgroupns-mode": "private"}
        file = engine.dir / "daemon.json"
        file.write_text(json.dumps(config))
        engine.arguments += ["--config-file", str(file)]
    engine = own_engine(prepare=prepare)
    box = engine.create("grep NoNewPrivs /proc/self/status; mkdir /x 2>/dev/null || echo denied; ulimit -n; cat /proc/1/comm; "
                        "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2; cat /proc/self/cgroup | cut -d: -f3 | sort -u")
    shown = box.inspect()["HostConfig"]
    assert (shown["IpcMode"], shown["CgroupnsMode"], shown["ShmSize"]) == ("shareable", "private", 8 << 20)
    box.start()
    box.wait()
    assert box.logs()[0].splitlines() == ["NoNewPrivs:\t1", "denied", "60", "docker-init", "8192", "/"]
    out = engine.output("grep NoNewPrivs /proc/self/status; mkdir /x && echo made; cat /proc/1/comm; true", host={
        "SecurityOpt": ["no-new-privileges=false", "seccomp=unconfined"], "Init": False})
    assert out.splitlines() == ["NoNewPrivs:\t0", "made", "sh"]
    options = engine.api.get("/info", expect=200).json["SecurityOptions"]
    assert any(o.startswith("name=seccomp,profile=") for o in options) and "name=cgroupns" in options or not cgroup_v2()


def test_selinux_that_is_not_there(own_engine):
    if host_has("selinux"):
        return
    engine = own_engine("--selinux-enabled")
    assert engine.create(host={"SecurityOpt": ["label=type:x"]}).inspect()["ProcessLabel"] == ""
    assert "SELinux" in engine.log.read_text()
