// dockerode against the engine at DOCKER_HOST: one function a topic, all of them in order.
// Usage: node dockerode.js IMAGE REPOSITORY   (REPOSITORY: a registry's, to push to)
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { PassThrough } = require('node:stream');
const Docker = require('dockerode');
const { run, text, tarball, untar } = require('./support');

const [image, repository] = process.argv.slice(2);
const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace('unix://', '') });
const body = { Image: image, HostConfig: { NetworkMode: 'none' } };

// Docker's framed stream, taken apart.
async function output(stream) {
  const out = new PassThrough();
  const err = new PassThrough();
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  return Promise.all([text(out), text(err)]);
}

const status = (code) => (error) => error.statusCode === code;

// Reads a stream of progress to its end.
const followed = (stream) => new Promise((resolve, reject) =>
  docker.modem.followProgress(stream, (error, lines) => (error ? reject(error) : resolve(lines))));

run({
  async system() {
    assert.equal((await docker.ping()).toString(), 'OK');
    assert.equal((await docker.version()).Os, 'linux');
    assert.equal((await docker.info()).OSType, 'linux');
    assert.ok(Array.isArray((await docker.df()).Images));
    await assert.rejects(docker.getContainer('nobody').inspect(), status(404));
  },

  async life() {
    const container = await docker.createContainer({ ...body, name: 'node-life', Cmd: ['sleep', '1000'], Labels: { made: 'node' } });
    await container.start();
    await assert.rejects(container.start(), status(304));
    const [listed] = await docker.listContainers({ filters: { label: ['made=node'] } });
    assert.equal(listed.Id, container.id);
    assert.equal((await container.inspect()).State.Running, true);
    assert.ok((await container.top({ ps_args: '-ef' })).Processes[0].join(' ').includes('sleep 1000'));
    await container.pause();
    assert.equal((await container.inspect()).State.Paused, true);
    await container.unpause();
    await container.update({ CpuShares: 300 });
    await container.rename({ name: 'node-renamed' });
    assert.equal((await docker.getContainer('node-renamed').inspect()).HostConfig.CpuShares, 300);
    const waiting = container.wait();
    await container.kill({ signal: 'KILL' });
    assert.equal((await waiting).StatusCode, 137);
    await container.restart({ t: 0 });
    await container.stop({ t: 0 });
    await assert.rejects(docker.createContainer({ ...body, name: 'node-renamed', Cmd: ['true'] }), status(409));
    await container.remove();
    await assert.rejects(container.inspect(), status(404));
    await assert.rejects(docker.createContainer({ ...body, Image: 'node-nothing:1', Cmd: ['true'] }), status(404));
  },

  async runAtOnce() {
    const out = new PassThrough();
    const seen = text(out);
    const [result, container] = await docker.run(image, ['sh', '-c', 'echo ran; exit 3'], out, { Tty: true, HostConfig: body.HostConfig });
    assert.equal(result.StatusCode, 3);
    await container.remove();
    out.end();
    assert.equal(await seen, 'ran\r\n');
  },

  async logs() {
    const container = await docker.createContainer({ ...body, Cmd: ['sh', '-c', 'echo out; echo err >&2'] });
    await container.start();
    await container.wait();
    assert.deepEqual(await output(await container.logs({ follow: true, stdout: true, stderr: true })), ['out\n', 'err\n']);
    const whole = await container.logs({ stdout: true, tail: 5 });
    assert.equal(whole.subarray(8).toString(), 'out\n');
    await container.remove();
  },

  async attach() {
    const container = await docker.createContainer({ ...body, Cmd: ['cat'], OpenStdin: true, StdinOnce: true, AttachStdin: true });
    const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
    await container.start();
    const seen = output(stream);
    stream.write('through the container\n');
    stream.end();
    assert.deepEqual(await seen, ['through the container\n', '']);
    assert.equal((await container.wait()).StatusCode, 0);
    await container.remove();
  },

  async terminal() {
    const container = await docker.createContainer({ ...body, Cmd: ['sh'], OpenStdin: true, Tty: true });
    const stream = await container.attach({ stream: true, stdin: true, stdout: true, hijack: true });
    const seen = text(stream);
    await container.start();
    await container.resize({ h: 30, w: 99 });
    stream.write('stty size; exit 5\n');
    assert.match(await seen, /30 99/);
    assert.equal((await container.wait()).StatusCode, 5);
    await container.remove();
  },

  async exec() {
    const container = await docker.createContainer({ ...body, Cmd: ['sleep', '1000'] });
    await container.start();
    const exec = async (options, start) => {
      const made = await container.exec({ AttachStdout: true, AttachStderr: true, ...options });
      const seen = await (options.Tty ? text(await made.start(start)) : output(await made.start(start)));
      return [seen, (await made.inspect()).ExitCode];
    };
    assert.deepEqual(await exec({ Cmd: ['sh', '-c', 'echo $A; echo e >&2; exit 4'], Env: ['A=b'] }, {}), [['b\n', 'e\n'], 4]);
    assert.deepEqual(await exec({ Cmd: ['id', '-un'], User: 'alice', WorkingDir: '/tmp' }, { hijack: true }), [['alice\n', ''], 0]);
    assert.match((await exec({ Cmd: ['tty'], Tty: true }, { hijack: true, Tty: true }))[0], /^\/dev\/pts\/\d+\r\n$/);
    const made = await container.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
    const stream = await made.start({ hijack: true, stdin: true });
    const seen = output(stream);
    stream.end('typed\n');
    assert.deepEqual(await seen, ['typed\n', '']);
    // Many at once.
    const all = await Promise.all([...Array(20).keys()].map((n) => exec({ Cmd: ['echo', `${n}`] }, {})));
    all.forEach(([[out], code], n) => assert.deepEqual([out, code], [`${n}\n`, 0]));
    await container.remove({ force: true });
  },

  async stats() {
    const container = await docker.createContainer({ ...body, Cmd: ['sleep', '1000'] });
    await container.start();
    assert.ok((await container.stats({ stream: false })).memory_stats.usage > 0);
    const stream = await container.stats({ stream: true });
    const first = await new Promise((resolve) => stream.once('data', resolve));
    assert.equal(JSON.parse(first).id, container.id);
    stream.destroy();
    await container.remove({ force: true });
  },

  async archives() {
    const container = await docker.createContainer({ ...body, Cmd: ['sleep', '1000'] });
    await container.start();
    await container.putArchive(await tarball({ 'a.txt': 'content' }), { path: '/tmp' });
    assert.deepEqual(await untar(await container.getArchive({ path: '/tmp/a.txt' })), { 'a.txt': 'content' });
    const about = JSON.parse(Buffer.from((await container.infoArchive({ path: '/tmp/a.txt' })).headers['x-docker-container-path-stat'], 'base64'));
    assert.equal(about.size, 7);
    assert.ok((await container.changes()).some((c) => c.Path === '/tmp/a.txt' && c.Kind === 1));
    assert.equal((await untar(await container.export()))['tmp/a.txt'], 'content');
    const committed = await container.commit({ repo: 'node-commit', tag: '1', comment: 'why' });
    assert.equal((await docker.getImage('node-commit:1').inspect()).Id, committed.Id);
    await assert.rejects(container.getArchive({ path: '/no/such' }), status(404));
    await container.remove({ force: true });
    await docker.getImage('node-commit:1').remove();
  },

  async events() {
    const stream = await docker.getEvents({ filters: { type: ['container'], label: ['watched=1'] } });
    const seen = [];
    let rest = '';
    const ended = new Promise((resolve) => stream.on('data', (data) => {
      const lines = (rest + data).split('\n');
      rest = lines.pop();
      seen.push(...lines.filter(Boolean).map((line) => JSON.parse(line).Action));
      if (seen.includes('destroy')) resolve();
    }));
    const container = await docker.createContainer({ ...body, Cmd: ['true'], Labels: { watched: '1' } });
    await container.start();
    await container.wait();
    await container.remove();
    await ended;
    stream.destroy();
    assert.deepEqual(seen, ['create', 'start', 'die', 'destroy']);
  },

  async images() {
    await docker.getImage(image).tag({ repo: repository, tag: '1' });
    const pushed = await followed(await docker.getImage(`${repository}:1`).push({ tag: '1' }));
    assert.match(pushed.at(-1).aux.Digest, /^sha256:/);
    await docker.getImage(`${repository}:1`).remove();
    const pulled = await followed(await docker.pull(`${repository}:1`));
    assert.match(pulled.at(-1).status, /^Status: /);
    assert.ok((await docker.getImage(`${repository}:1`).history()).length > 0);
    assert.ok((await docker.listImages({ filters: { reference: [repository] } })).length === 1);
    assert.match((await docker.getImage(`${repository}:1`).distribution()).Descriptor.digest, /^sha256:/);
    const saved = await docker.getImage(`${repository}:1`).get();
    await docker.getImage(`${repository}:1`).remove();
    await followed(await docker.loadImage(saved));
    await docker.getImage(`${repository}:1`).inspect();
    await assert.rejects(docker.pull(`${repository}:none`), status(404));
    await followed(await docker.importImage(await tarball({ x: 'y' }), { repo: 'node-import', tag: '1' }));
    await docker.getImage('node-import:1').remove();
    assert.ok('SpaceReclaimed' in await docker.pruneImages({ filters: { label: { 'no-such-label': true } } }));
  },

  async builds() {
    const from = `FROM ${image}\n`;
    // A directory whose .dockerignore the client applies.
    const context = fs.mkdtempSync(path.join(os.tmpdir(), 'node-build-'));
    const files = {
      'sub/File': `${from}ARG a\nRUN echo got $a; cat /etc/hosts; df /dev/shm; ls /sys/class/net\nCOPY . /ctx\nFROM ${image} AS wanted\nCOPY --from=0 /ctx /ctx\nFROM scratch\n`,
      'kept': 'content', 'secret': 'x', '.dockerignore': 'secret\n',
    };
    for (const [name, content] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(context, name)), { recursive: true });
      fs.writeFileSync(path.join(context, name), content);
    }
    const options = {
      t: 'node-built:1', dockerfile: 'sub/File', buildargs: { a: 'A' }, labels: { l: '1' }, target: 'wanted', nocache: true, rm: true,
      forcerm: true, networkmode: 'none', shmsize: 8 << 20, extrahosts: 'there:1.2.3.4', cachefrom: ['node-none:1'], memory: 128 << 20,
      cpushares: 100, cpusetcpus: '0', platform: 'linux/amd64', registryconfig: { 'registry.test': { username: 'u', password: 'p' } },
    };
    const src = ['sub/File', 'kept', '.dockerignore'];
    const lines = await followed(await docker.buildImage({ context, src }, options));
    const said = lines.map((line) => line.stream || '').join('');
    assert.match(said, /got A\n/);
    assert.match(said, /1\.2\.3\.4\tthere\n/);
    assert.match(said, / 8192 /);
    assert.doesNotMatch(said, /eth0/);
    assert.match(said, /Successfully tagged node-built:1\n$/);
    const built = await docker.getImage('node-built:1').inspect();
    assert.equal(lines.findLast((line) => line.aux).aux.ID, built.Id);
    assert.deepEqual(built.Config.Labels, { l: '1' });
    const container = await docker.createContainer({ ...body, Image: 'node-built:1', Cmd: ['sh', '-c', 'echo $(ls -A /ctx)'] });
    await container.start();
    await container.wait();
    assert.equal((await container.logs({ stdout: true })).subarray(8).toString(), '.dockerignore kept sub\n');
    await container.remove();
    // An archive; what is known is taken.
    const archive = () => tarball({ Dockerfile: `${from}LABEL a=b\nRUN true\n` });
    await followed(await docker.buildImage(await archive(), { t: 'node-built:2' }));
    const again = await followed(await docker.buildImage(await archive(), { t: 'node-built:3', q: true }));
    assert.equal(again.at(-1).stream.trim(), (await docker.getImage('node-built:2').inspect()).Id);
    const failed = await followed(await docker.buildImage(await tarball({ Dockerfile: `${from}RUN exit 5\n` }), { forcerm: true }));
    assert.match(failed.at(-1).error, /returned a non-zero code: 5/);
    assert.equal(failed.at(-1).errorDetail.code, 5);
    await assert.rejects(docker.buildImage(await tarball({ Dockerfile: 'NOPE\n' }), {}), /unknown instruction: NOPE/i);
    assert.ok('SpaceReclaimed' in await docker.pruneBuilder());
    for (const tag of [1, 2, 3]) await docker.getImage(`node-built:${tag}`).remove();
    fs.rmSync(context, { recursive: true });
  },

  async volumes() {
    const volume = await docker.createVolume({ Name: 'node-volume', Labels: { a: 'b', c: 'd' }, Driver: 'local', DriverOpts: { type: 'tmpfs', device: 'tmpfs', o: 'size=1m' } });
    const shown = await volume.inspect();
    assert.deepEqual([shown.Name, shown.Driver, shown.Scope, shown.Labels], ['node-volume', 'local', 'local', { a: 'b', c: 'd' }]);
    assert.deepEqual(shown.Options, { type: 'tmpfs', device: 'tmpfs', o: 'size=1m' });
    assert.match((await docker.createVolume({})).name, /^[0-9a-f]{64}$/);
    await assert.rejects(docker.createVolume({ Name: 'x' }), status(400));
    await docker.createVolume({ Name: 'node-other' });
    const container = await docker.createContainer({ ...body, Cmd: ['true'], HostConfig: { Binds: ['node-other:/v'] } });
    const listed = async (filters) => (await docker.listVolumes({ filters })).Volumes.map((v) => v.Name).sort();
    assert.deepEqual(await listed({ label: ['a=b', 'c'] }), ['node-volume']);
    // As an object of booleans, which older clients send, and as text.
    assert.deepEqual(await listed({ name: { 'node-': true } }), ['node-other', 'node-volume']);
    assert.deepEqual(await listed('{"name":["node-"],"dangling":["true"]}'), ['node-volume']);
    assert.deepEqual(await listed({ name: ['node-'], dangling: ['false'], driver: ['local'] }), ['node-other']);
    assert.deepEqual(await listed({ driver: ['none'] }), []);
    await assert.rejects(docker.listVolumes({ filters: { colour: ['red'] } }), status(400));
    const other = docker.getVolume('node-other');
    await assert.rejects(other.remove(), status(409));
    await assert.rejects(other.remove({ force: true }), status(409));
    await container.remove();
    await other.remove({ force: true });
    await assert.rejects(other.remove(), status(404));
    // dockerode takes `force` and does not send it as a parameter.
    await assert.rejects(other.remove({ force: true }), status(404));
    await volume.remove();
    await assert.rejects(volume.inspect(), status(404));
    assert.deepEqual((await docker.pruneVolumes({ filters: { label: { 'no-such-label': true } } })).VolumesDeleted, []);
    await docker.createVolume({ Name: 'node-pruned', Labels: { p: '1' } });
    await docker.createVolume({ Name: 'node-kept', Labels: { keep: '1' } });
    const filters = { 'label!': ['keep'] };
    // Since 1.42 what has a name is spared.
    const [major, minor] = (await docker.version()).ApiVersion.split('.').map(Number);
    if (major > 1 || minor >= 42) filters.all = ['true'];
    const pruned = await docker.pruneVolumes({ filters });
    assert.ok(pruned.VolumesDeleted.includes('node-pruned') && !pruned.VolumesDeleted.includes('node-kept'));
    assert.equal(pruned.SpaceReclaimed, 0);
    await docker.getVolume('node-kept').remove();
  },

  async networks() {
    assert.ok((await docker.listNetworks()).some((n) => n.Name === 'none'));
    assert.equal((await docker.getNetwork('none').inspect()).Driver, 'null');
    const network = await docker.createNetwork({ Name: 'node-net', CheckDuplicate: true, Labels: { made: 'node' } });
    await assert.rejects(docker.createNetwork({ Name: 'node-net', CheckDuplicate: true }), status(409));
    assert.equal((await docker.listNetworks({ filters: { label: ['made=node'] } }))[0].Id, network.id);
    const container = await docker.createContainer({ ...body, Cmd: ['sleep', '1000'], HostConfig: { NetworkMode: 'node-net' } });
    await container.start();
    assert.deepEqual(Object.keys((await network.inspect()).Containers), [container.id]);
    await assert.rejects(network.remove(), status(403));
    await network.disconnect({ Container: container.id, Force: true });
    await network.connect({ Container: container.id, EndpointConfig: { Aliases: ['again'] } });
    assert.ok((await container.inspect()).NetworkSettings.Networks['node-net'].IPAddress);
    await container.remove({ force: true });
    await network.remove();
    await assert.rejects(network.inspect(), status(404));
    assert.equal((await docker.pruneNetworks()).NetworksDeleted, null);
  },
});
