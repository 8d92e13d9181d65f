"""`docker network` and what the docker command says of networks, every command that is installed."""

import json

from harness.engine import IMAGE


def test_network_commands(docker, engine):
    id = docker.out("network", "create", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.1", "--ip-range", "10.77.0.128/25",
                    "--aux-address", "x=10.77.0.130", "--label", "a=b", "--attachable", "-o", "com.docker.network.driver.mtu=1400", "cli-net")
    assert len(id) == 64
    rows = docker.out("network", "ls", "--filter", "name=cli-net", "--format", "{{.ID}} {{.Name}} {{.Driver}} {{.Scope}} {{.Label \"a\"}}")
    assert rows == f"{id[:12]} cli-net bridge local b"
    assert docker.out("network", "ls", "-q", "--no-trunc", "--filter", "type=custom") == id
    (found,) = json.loads(docker.out("network", "inspect", "cli-net"))
    assert found["IPAM"]["Config"] == [{"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": "10.77.0.1", "AuxiliaryAddresses": {"x": "10.77.0.130"}}]
    assert docker.out("network", "inspect", "-v", "--format", "{{.Name}}", "cli-net") == "cli-net"
    docker("run", "-d", "--name", "cli-a", "--network", "cli-net", "--ip", "10.77.0.200", "--network-alias", "ally", IMAGE, "sleep", "1000")
    address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    assert docker.out("inspect", "-f", address, "cli-a") == "10.77.0.200"
    docker("run", "-d", "--name", "cli-b", IMAGE, "sleep", "1000")
    docker("network", "connect", "--ip", "10.77.0.201", "--alias", "second", "cli-net", "cli-b")
    assert docker("exec", "cli-b", "ping", "-c", "1", "-w", "30", "10.77.0.200").returncode == 0
    assert docker.out("ps", "--filter", "network=cli-net", "--format", "{{.Names}} {{.Networks}}").splitlines()[-1] == "cli-a cli-net"
    done = docker("network", "rm", "cli-net", check=False)
    assert done.returncode == 1 and "has active endpoints" in done.stderr
    docker("network", "disconnect", "cli-net", "cli-b")
    docker("network", "disconnect", "-f", "cli-net", "cli-a")
    assert docker.out("network", "rm", "cli-net") == "cli-net"
    done = docker("network", "inspect", "cli-net", check=False)
    assert done.returncode == 1 and "cli-net" in done.stderr


def test_internal_and_prune(docker, engine):
    docker("network", "create", "--internal", "cli-inner")
    docker("network", "create", "--driver", "bridge", "cli-outer")
    assert docker.out("network", "inspect", "-f", "{{.Internal}} {{.EnableIPv6}}", "cli-inner", "cli-outer").split() == ["true", "false", "false", "false"]
    out = docker.out("network", "prune", "-f")
    assert out.splitlines()[0] == "Deleted Networks:" and {"cli-inner", "cli-outer"} <= set(out.splitlines())


def test_config_only(docker, engine):
    docker("network", "create", "--config-only", "--subnet", "10.90.0.0/24", "cli-cfg")
    docker("network", "create", "--config-from", "cli-cfg", "cli-real")
    assert "10.90.0.0/24" in docker.out("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "cli-real")


def test_mistakes(docker, engine):
    for arguments, message in (
        (("network", "create", "bridge"), "operation is not permitted on predefined bridge network"),
        (("network", "rm", "host"), "host is a pre-defined network and cannot be removed"),
        (("network", "rm", "cli-nothing"), "cli-nothing"),
        (("network", "connect", "cli-nothing", "x"), "No such container: x"),
        (("run", "--network", "cli-nothing", IMAGE, "true"), "network cli-nothing not found"),
        (("run", "--network", "bridge", "--ip", "172.17.0.9", IMAGE, "true"), "user specified IP address is supported on user defined networks only"),
    ):
        done = docker(*arguments, check=False)
        assert done.returncode != 0 and message in done.stderr, done.stderr
