"""What Gantry does not do as Docker does it, or not yet: the one list from which docs/api.md takes its verdicts.

`page` is a piece of docs/differences.md that says the same to users; the tests look for it there.
"""

import re
from dataclasses import dataclass

NOT_YET, DIFFERS, NOTE, REFUSED = "not yet", "differs", "note", "refused as by Docker"


@dataclass(frozen=True)
class Declared:
    """A verdict on every item whose line `pattern` matches. A `note` is no verdict: what is noted still has to be shown.
    What is refused as by Docker is tested on both engines; a record of what was done cannot show it."""

    pattern: str
    state: str
    why: str
    page: str = ""

    def covers(self, line):
        return re.search(self.pattern, line) is not None


DECLARED = [
    Declared(r"^POST /build \| query outputs$", NOTE, "read, and without effect on what is built, as by Docker's classic builder"),
    Declared(r"^POST /build \| query version$", NOTE, "1 alone; 2 is BuildKit and refused"),
    Declared(r"^POST /session( |$)", NOT_YET, "sessions belong to BuildKit", "BuildKit"),
    Declared(r"^\w+ /plugins(/|\?| |$)", NOT_YET, "there are no managed plugins", "managed plugins"),
    Declared(r"^POST /swarm/(init|join)( |$)", NOT_YET, "there is no Swarm; 501", "Swarm"),
    Declared(r"^\w+ /(swarm|nodes|services|tasks|secrets|configs)(/\S*)?$", REFUSED, "this node is in no swarm"),
    Declared(r"^\w+ /(swarm|nodes|services|tasks|secrets|configs)(/| )", NOT_YET, "there is no Swarm", "Swarm"),
    Declared(r"^PUT /volumes", NOT_YET, "cluster volumes are Swarm's", "cluster volumes"),
    Declared(r"ClusterVolumeSpec", NOTE, "a volume of Swarm's, which no manager is here to make; with another driver without effect, as in Docker"),
    Declared(r"filter (is-task|node|secret|service|config|plugin)$", NOTE, "matches nothing: there is no Swarm and no managed plugin"),
    Declared(r"^POST /networks/create \| body Ingress$", REFUSED, "a swarm's alone"),
    Declared(r"^POST /containers/create .*body HostConfig\.DeviceRequests", DIFFERS, "refused at creation: there is no driver for such devices", "`DeviceRequests`"),
    Declared(r"^POST /containers/\S+ .*body .*\b(IOMaximumIOps|IOMaximumBandwidth)$", REFUSED, "for Windows"),
    Declared(r"^POST /containers/create .*body HostConfig\.StorageOpt$", REFUSED, "a size needs xfs with project quotas below overlayfs"),
    Declared(r"^POST /containers/\{id\}/update .*body (CgroupParent|Devices|DeviceCgroupRules|DeviceRequests|Ulimits|Init|BlkioDevice|BlkioWeightDevice|KernelMemoryTCP)",
             NOTE, "of the right type, and without effect, as in Docker"),
    Declared(r"body .*\bEndpointsConfig\{\}\.(NetworkID|EndpointID|Gateway|IPAddress|IPPrefixLen|IPv6Gateway|GlobalIPv6Address|GlobalIPv6PrefixLen)$", NOTE,
             "an answer that clients send back; without effect, as in Docker"),
    Declared(r"body .*\b(CpuCount|CpuPercent|DiskQuota|ArgsEscaped)$", NOTE, "for Windows; no effect, as in Docker on Linux"),
    Declared(r"filter isolation$", NOTE, "for Windows"),
]


def verdict(line):
    """The first declared verdict on an item, or None."""
    return next((entry for entry in DECLARED if entry.state != NOTE and entry.covers(line)), None)


def note(line):
    """What is said about an item besides its verdict."""
    return next((entry for entry in DECLARED if entry.state == NOTE and entry.covers(line)), None)
