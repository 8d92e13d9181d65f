"""Deviations from the specification that are known and wanted, each with its reason.

`engine` is who may deviate: "reference" for what Docker 20.10 does and Gantry must not, "both" for what Docker
does and clients have come to need, "gantry" for what only we do.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Allowed:
    """One deviation; `where` and `what` are searched for as regular expressions."""

    engine: str
    where: str
    what: str
    reason: str

    def covers(self, engine, where, what):
        return self.engine in (engine, "both") and re.search(self.where, where) and re.search(self.what, what)


ALLOWED = [
    Allowed("both", r" v1\.25 ", r"^(unknown|missing|null|type|enum|status|content-type) ",
            "the file of 1.25 was written after the fact and lacks most of what engines of its time sent"),
    Allowed("reference", r" v1\.35 ", r"^unknown ", "20.10 sends its newest fields to clients of every version"),
    Allowed("reference", r" /(images/json|system/df) ", r"^null at (/Images)?/\d+/(Labels|RepoDigests|RepoTags):",
            "20.10 sends a nil map or slice as null although the file says it is never null"),
    Allowed("reference", r" /images/\{name\}/json ", r"^null at /GraphDriver/Data:", "20.10, for an image without layers"),
    Allowed("both", r" /events ", r"^unknown at /(status|id|from):",
            "the events of old; Docker sends them beside the new ones up to 1.51 and clients read them"),
    Allowed("both", r" v1\.25 .* 400$", r"^json .*client version 1\.11 is too old",
            "errors were plain text before 1.24, so this is the form that such a client understands"),
    Allowed("both", r" /containers/\{id\}/((un)?pause|kill|resize|top|attach|update) 409$", r"^status ",
            "a container in the wrong state is a conflict, as it is for start and kill"),
    Allowed("reference", r" /containers/\{id\}/attach(/ws)? 4\d\d$", r"^(json|content-type) ",
            "20.10 writes these errors as plain text into the hijacked connection"),
    Allowed("both", r" /exec/\{id\}/start 101$", r"^status ",
            "the upgrade that attach declares is answered to exec as well"),
    Allowed("reference", r" /exec/\{id\}/start 500$", r"^status ", "20.10 takes what the host lacks for its own fault"),
    Allowed("both", r" /volumes/create 404$", r"^status ", "the driver that was asked for does not exist"),
    Allowed("both", r" /volumes/create 409$", r"^status ", "another driver has a volume of this name"),
    Allowed("both", r" /exec/\{id\}/json ", r"^null at /ExitCode:", "a Go pointer: null until it has ended"),
    Allowed("both", r" /containers/\{id\}/logs 501$", r"^status ", "the driver cannot read, which is not implemented"),
    Allowed("both", r" v1\.35 /containers/\{id\}/json ", r"^(null|type) at /ExecIDs",
            "the file of 1.35 calls the list of ids a string"),
    Allowed("both", r" v1\.35 /containers/\{id\}/json ", r"^unknown at /(HostConfig/(KernelMemory|Init)|Platform|Config/Volumes/.*):",
            "17.12 sent them; its file forgot"),
    Allowed("both", r" v1\.35 /containers/\{id\}/json ", r"^unknown at /State/Health:", "17.12 sent it; its file forgot"),
    Allowed("both", r" v1\.35 /distribution/\{name\}/json 200$", r"^unknown at /(Descriptor|Platforms/\d+)/",
            "the file's names have capitals, as the Go fields; what is sent never had"),
    Allowed("gantry", r" 414$", r"^(status|content-type|json) ", "a target of more than 64 KB is refused before anybody reads it"),
    Allowed("gantry", r" /swarm/(init|join) 501$", r"^status ", "there is no swarm mode yet"),
    Allowed("both", r" /auth 401$", r"^status ", "the registry refuses; newer files and every client know it"),
    Allowed("gantry", r" v1\.44 /containers/(\{id\}/)?json ", r"^enum at .*/Mounts/\d+/Type: 'image'",
            "1.48 has it; there is no file between 1.44 and 1.51"),
    Allowed("both", r" /containers/(\{id\}/)?json ", r"^enum at .*/LogConfig/Type: 'local'", "the files up to 1.47 forgot this driver"),
    Allowed("both", r" v1\.35 /exec/\{id\}/json ", r"^unknown at /(CanRemove|DetachKeys):", "17.12 sent them; its file forgot"),
    Allowed("both", r" v1\.35 /networks", r"^unknown at (/\d+)?/Config(From|Only):", "17.12 sent them; its file forgot"),
    Allowed("both", r" v1\.35 /events ", r"^unknown at /scope:", "17.12 sent it; its file forgot"),
    Allowed("both", r" v1\.35 /volumes ", r"^null at /Warnings:", "a nil slice, as everywhere else"),
    Allowed("both", r" (/volumes|/system/df)", r"^null at (/Volumes/\d+)?/(Labels|Options):",
            "Docker sends null for a volume without labels or options, and clients compare with it"),
    Allowed("both", r" v1\.35 /system/df ", r"^type at /Containers/\d+:", "the file's containers are lists of containers"),
    Allowed("both", r" /system/df ", r"^unknown at /BuilderSize:", "sent up to 1.41, never specified; old clients read it"),
    Allowed("both", r" v1\.35 /networks", r"^type at (/\d+)?/IPAM/Config/\d+/AuxiliaryAddresses:", "the file of 1.35 calls the map a string"),
    Allowed("gantry", r" /images/\{name\}/json 200$", r"^unknown at /Container(Config)?:",
            "docker-compose 1 asks in the newest version and needs what went with 1.45"),
    Allowed("both", r" /networks/create 409$", r"^status ", "a name that is taken is a conflict, as it is for containers"),
    Allowed("both", r" /networks/create 503$", r"^status ", "no swarm"),
    Allowed("both", r" /networks/\{id\}(/disconnect)? 400$", r"^status ", "the client's mistake; the file knows of none"),
    Allowed("both", r" /networks(/prune)? 400$", r"^status ", "a filter that does not exist"),
    Allowed("both", r" /containers/\{id\}/start 403$", r"^status ", "a network that cannot be joined is forbidden, as it is for connect"),
    Allowed("both", r" /containers/json 404$", r"^status ", "the container that a filter names does not exist"),
    Allowed("both", r" /distribution/\{name\}/json 40[34]$", r"^status ", "what the registry has not got or does not give"),
    Allowed("both", r" /images/(json|get|\{name\}/get) 404$", r"^status ",
            "an image that does not exist is 404 everywhere, also where the file mentions 500 alone"),
    Allowed("both", r" /containers/\{id\}/json ", r"^null at /HostConfig/(MemorySwappiness|OomKillDisable|PidsLimit):",
            "Go pointers: null means unset, and clients tell it from 0"),
]


def allowed(engine, where, finding):
    """Whether a finding is on the list."""
    return any(entry.covers(engine, where, str(finding)) for entry in ALLOWED)
