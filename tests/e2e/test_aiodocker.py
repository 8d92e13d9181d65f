"""aiodocker, the client for asyncio."""

import asyncio
import io
import tarfile

import aiodocker
import pytest

from harness.engine import IMAGE

NOTHING = {"NetworkMode": "none"}


@pytest.fixture
def run(engine):
    """run(f): the coroutine function with a client, to its end."""
    def go(function):
        async def whole():
            async with aiodocker.Docker(url=engine.host) as client:
                await asyncio.wait_for(function(client), 60)
        asyncio.run(whole())
    return go


def config(*cmd, **more):
    return {"Image": IMAGE, "Cmd": list(cmd), "HostConfig": NOTHING, **more}


def test_system(run):
    async def steps(client):
        assert (await client.version())["Os"] == "linux"
        assert (await client.system.info())["OSType"] == "linux"
        with pytest.raises(aiodocker.exceptions.DockerError) as caught:
            await client.containers.get("nobody")
        assert caught.value.status == 404
    run(steps)


def test_life(run):
    async def steps(client):
        container = await client.containers.create(config("sleep", "1000", Labels={"made": "aio"}), name="aio")
        await container.start()
        assert [c.id for c in await client.containers.list(filters={"label": ["made=aio"]})] == [container.id]
        assert (await container.show())["State"]["Running"]
        assert (await container.stats(stream=False))[0]["memory_stats"]["usage"] > 0
        async for sample in container.stats(stream=True):
            assert sample["id"] == container.id
            break
        await container.pause()
        assert (await container.show())["State"]["Paused"]
        await container.unpause()
        await container.rename("aio-2")
        await container.restart(timeout=0)
        waiting = asyncio.create_task(container.wait())
        await asyncio.sleep(0.2)
        await container.kill(signal="KILL")
        assert (await waiting)["StatusCode"] == 137
        await container.delete(force=True)
    run(steps)


def test_run_and_logs(run):
    async def steps(client):
        container = await client.containers.run(config("sh", "-c", "echo out; sleep 1; echo err >&2; exit 3"))
        assert [line async for line in container.log(stdout=True, stderr=True, follow=True)] == ["out\n", "err\n"]
        assert await container.log(stderr=True) == ["err\n"]
        assert (await container.wait())["StatusCode"] == 3
        await container.delete()
    run(steps)


def test_attach(run):
    async def steps(client):
        container = await client.containers.create(config("cat", OpenStdin=True, StdinOnce=True, AttachStdin=True))
        async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
            await container.start()
            await stream.write_in(b"through\n")
            assert (await stream.read_out()).data == b"through\n"
        await container.delete(force=True)
    run(steps)


def test_exec(run):
    async def steps(client):
        container = await client.containers.run(config("sleep", "1000"))

        async def once(number):
            made = await container.exec(["sh", "-c", f"echo {number}; exit {number}"], stdin=False)
            async with made.start(detach=False) as stream:
                assert (await stream.read_out()).data == f"{number}\n".encode()
                assert await stream.read_out() is None
            assert (await made.inspect())["ExitCode"] == number

        await asyncio.gather(*(once(n) for n in range(20)))
        made = await container.exec(["sh"], stdin=True, tty=True, user="alice", environment={"A": "b"}, workdir="/tmp")
        async with made.start(detach=False) as stream:
            await made.resize(h=30, w=90)
            await stream.write_in(b"echo $A $(id -un) $(pwd); exit\n")
            seen = b""
            while (message := await stream.read_out()) is not None:
                seen += message.data
        assert b"b alice /tmp" in seen
        await container.delete(force=True)
    run(steps)


def test_archives(run):
    async def steps(client):
        container = await client.containers.run(config("sleep", "1000"))
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            member = tarfile.TarInfo("a.txt")
            member.size = 7
            tar.addfile(member, io.BytesIO(b"content"))
        await container.put_archive("/tmp", out.getvalue())
        with await container.get_archive("/tmp/a.txt") as tar:
            assert tar.extractfile("a.txt").read() == b"content"
        made = await container.commit(repository="aio-commit", tag="1")
        assert (await client.images.inspect("aio-commit:1"))["Id"] == made["Id"]
        await container.delete(force=True)
    run(steps)


def test_events(run):
    async def steps(client):
        subscriber = client.events.subscribe()
        # Until the stream tells of something it may not have begun.
        first = asyncio.ensure_future(subscriber.get())
        while not first.done():
            await (await client.volumes.create({})).delete()
            await asyncio.wait([first], timeout=0.1)
        container = await client.containers.create(config("true"))
        await container.start()
        await container.wait()
        await container.delete()
        seen = []
        while "destroy" not in seen:
            event = await subscriber.get()
            if event["Type"] == "container":
                seen.append(event["Action"])
        assert seen == ["create", "start", "die", "destroy"]
    run(steps)


def test_images(run, engine, registry):
    repository = f"{registry.host}/{engine.name('aio')}"

    async def steps(client):
        await client.images.tag(IMAGE, repository, tag="1")
        assert any("aux" in line for line in await client.images.push(repository, tag="1"))
        await client.images.delete(f"{repository}:1")
        assert (await client.images.pull(f"{repository}:1"))[-1]["status"].startswith("Status: ")
        async for line in client.images.pull(f"{repository}:1", stream=True):
            assert "error" not in line
        assert await client.images.history(f"{repository}:1")
        async with client.images.export_image(f"{repository}:1") as exported:
            data = await exported.read() if hasattr(exported, "read") else b"".join([part async for part in exported.iter_chunked(1 << 16)])
        await client.images.delete(f"{repository}:1")
        assert [line async for line in client.images.import_image(data, stream=True)]
        assert [f"{repository}:1"] in [i["RepoTags"] for i in await client.images.list(filter=repository)] or await client.images.inspect(f"{repository}:1")
        with pytest.raises(aiodocker.exceptions.DockerError) as caught:
            await client.images.pull(f"{repository}:none")
        assert caught.value.status == 404
    run(steps)


def test_volumes(run):
    async def steps(client):
        volume = await client.volumes.create({"Name": "aio-volume", "Labels": {"a": "b"}})
        assert (await volume.show())["Labels"] == {"a": "b"}
        assert [v["Name"] for v in (await client.volumes.list(filters={"label": ["a=b"]}))["Volumes"]] == ["aio-volume"]
        await volume.delete()
    run(steps)


def test_networks(run):
    async def steps(client):
        made = await client.networks.create({"Name": "aio-net", "CheckDuplicate": True, "Labels": {"a": "b"}})
        assert (await made.show())["Name"] == "aio-net"
        assert [n["Name"] for n in await client.networks.list(filters={"label": ["a=b"]})] == ["aio-net"]
        container = await client.containers.create(config("sleep", "1000", HostConfig={"NetworkMode": "bridge"}))
        await container.start()
        await made.connect({"Container": container.id, "EndpointConfig": {"Aliases": ["x"]}})
        assert container.id in (await made.show())["Containers"]
        with pytest.raises(aiodocker.exceptions.DockerError) as caught:
            await made.delete()
        assert caught.value.status == 403
        await made.disconnect({"Container": container.id})
        assert await made.delete()
        with pytest.raises(aiodocker.exceptions.DockerError) as caught:
            await client.networks.get("aio-net")
        assert caught.value.status == 404
        await container.delete(force=True)
    run(steps)
