"""Pull and push through the API, and what their progress must look like."""

import re

BAR = re.compile(r"^\[(=*>? *)\] +[0-9.]+[kMG]?B(/[0-9.]+[kMG]?B)?$")
PULL_STEPS = ["Pulling fs layer", "Waiting", "Downloading", "Verifying Checksum", "Download complete", "Extracting",
              "Pull complete"]
PUSH_STEPS = ["Preparing", "Waiting", "Pushing", "Pushed"]


def pull(api, name, tag=None, expect=200, **query):
    """Pull to the end; the messages. Fails if one is an error."""
    answer = api.post("/images/create", fromImage=name, tag=tag, expect=expect, **query)
    assert answer.headers["content-type"] == "application/json"
    errors = [one for one in answer.objects if "error" in one]
    assert not errors, errors
    return answer.objects


def push(api, name, tag=None, expect=200, headers=None, **query):
    """Push to the end; the messages. Fails if one is an error."""
    answer = api.post(f"/images/{name}/push", tag=tag, expect=expect, headers=headers or {"X-Registry-Auth": "e30="}, **query)
    errors = [one for one in answer.objects if "error" in one]
    assert not errors, errors
    return answer.objects


def failure(answer):
    """The error text of an answer that failed, by its status or in its stream."""
    if answer.status >= 400:
        return answer.message
    found = answer.objects[-1]
    assert "error" in found, f"no error: {answer.text[-500:]}"
    assert found["errorDetail"]["message"] == found["error"]
    return found["error"]


def statuses(messages, id=None):
    """The status texts, of one layer or of none."""
    return [m["status"] for m in messages if "status" in m and m.get("id") == id]


def check_pull(messages, repository, tag, layers, digest, name, new=True):
    """Every line of a pull's progress, as the docker command needs it to draw its bars."""
    assert messages[0] == {"status": f"Pulling from {repository}", "id": tag}
    assert messages[-2:] == [
        {"status": f"Digest: {digest}"},
        {"status": f"Status: {'Downloaded newer image' if new else 'Image is up to date'} for {name}"}]
    check_layers(messages[1:-2], [one.digest.removeprefix("sha256:")[:12] for one in layers] if new else [],
                 PULL_STEPS, "Pull complete")


def check_layers(messages, ids, steps, last):
    """Lines about layers: known ids, steps in their order, counters that only grow."""
    assert {m["id"] for m in messages} == set(ids)
    for id in ids:
        mine = [m for m in messages if m["id"] == id]
        if mine[-1]["status"] == "Already exists":
            assert all(m["progressDetail"] == {} for m in mine)
            continue
        assert mine[-1]["status"] == last, mine
        seen = [steps.index(m["status"]) for m in mine]
        assert seen == sorted(seen), [m["status"] for m in mine]
        counters = {}
        for message in mine:
            assert message.keys() <= {"status", "id", "progressDetail", "progress"}, message
            detail = message["progressDetail"]
            if detail:
                assert detail.keys() <= {"current", "total"} and detail["current"] > 0, message
                # What is pushed is measured in bytes of an archive, the total in bytes of files.
                assert steps is PUSH_STEPS or detail["current"] <= detail.get("total", detail["current"]), message
                assert counters.get(message["status"], 0) <= detail["current"], mine
                counters[message["status"]] = detail["current"]
                assert BAR.match(message["progress"]), message
            else:
                assert "progress" not in message, message


def images_named(api, pattern):
    """RepoTags of the images whose name matches."""
    found = api.get("/images/json", filters={"reference": [pattern]}, expect=200).json
    return sorted(tag for image in found for tag in image["RepoTags"] or [])
