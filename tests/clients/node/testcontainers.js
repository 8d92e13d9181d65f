// Testcontainers for Node.js against the engine at DOCKER_HOST.
// Usage: node testcontainers.js IMAGE
'use strict';

const assert = require('node:assert/strict');
const { GenericContainer, Wait } = require('testcontainers');
const { run, text } = require('./support');

const image = process.argv[2];
// Again and again: what is waited for is searched from the second of the start on, by another clock.
const forever = ['sh', '-c', 'while :; do echo ready; sleep 0.3; done'];

run({
  async waitsForALog() {
    const container = await new GenericContainer(image).withCommand(forever).withWaitStrategy(Wait.forLogMessage('ready')).start();
    const logs = await container.logs();
    assert.match(await new Promise((resolve) => logs.once('data', (data) => resolve(`${data}`))), /ready/);
    logs.destroy();
    await container.stop();
  },

  async publishesPorts() {
    const container = await new GenericContainer(image)
      .withCommand(['sh', '-c', 'while :; do nc -l -p 8080 -e echo hello; done'])
      .withExposedPorts(8080)
      .withWaitStrategy(Wait.forSuccessfulCommand('netstat -ltn | grep -q :8080'))
      .start();
    assert.ok(container.getMappedPort(8080) > 1024);
    assert.ok(container.getName() && container.getId() && container.getHost());
    await container.stop();
  },

  async executes() {
    const container = await new GenericContainer(image).withCommand(forever).withEnvironment({ A: 'b' }).withLabels({ k: 'v' })
      .withUser('alice').withWorkingDir('/tmp').withTmpFs({ '/t': 'rw' })
      .withWaitStrategy(Wait.forLogMessage(/read[y]/)).start();
    const { output, exitCode } = await container.exec(['sh', '-c', 'echo $A; id -un; pwd; exit 3']);
    assert.deepEqual([output, exitCode], ['b\nalice\n/tmp\n', 3]);
    assert.equal(container.getLabels().k, 'v');
    await container.restart({ timeout: 0 });
    await container.stop({ timeout: 0 });
  },

  async copies() {
    const container = await new GenericContainer(image).withCommand(forever).withWaitStrategy(Wait.forLogMessage('ready'))
      .withCopyContentToContainer([{ content: 'before', target: '/tmp/before' }]).start();
    await container.copyContentToContainer([{ content: 'after', target: '/tmp/after' }]);
    assert.equal((await container.exec('cat /tmp/before /tmp/after')).output, 'beforeafter');
    const archive = await container.copyArchiveFromContainer('/tmp/after');
    assert.match(await text(archive), /after/);
    const committed = await container.commit({ repo: 'node-tc', tag: '1', deleteOnExit: false });
    assert.match(committed, /^sha256:|^node-tc/);
    await container.stop();
  },

  async waitsForHealth() {
    const container = await new GenericContainer(image).withCommand(forever)
      .withHealthCheck({ test: ['CMD-SHELL', 'true'], interval: 200, timeout: 5000, retries: 3 })
      .withWaitStrategy(Wait.forHealthCheck()).start();
    await container.stop();
  },

  async givesUp() {
    await assert.rejects(new GenericContainer(image).withCommand(['sh', '-c', 'exit 1'])
      .withWaitStrategy(Wait.forLogMessage('never')).withStartupTimeout(2000).start());
  },
});
