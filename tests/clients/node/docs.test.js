// The example of docs/clients.md, as it stands there.
'use strict';

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');
const { Cluster, REPOSITORY } = require('./cluster.js');

function example() {
  const page = fs.readFileSync(path.join(REPOSITORY, 'docs/clients.md'), 'utf8');
  const found = page.match(/^```js\n(.*?)^```$/ms);
  assert.ok(found, 'docs/clients.md has an example in js');
  return found[1];
}

describe('the example for Node', () => {
  let cluster;
  before(async () => {
    cluster = await Cluster.start();
  });
  after(() => cluster?.stop());

  const run = (...args) =>
    spawnSync(process.execPath, ['-', ...args], {
      cwd: __dirname, input: example(), encoding: 'utf8', timeout: 60000,
    });

  it('prints text', () => {
    const { status, stdout, stderr } = run(cluster.address, REPOSITORY);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /[a-z]/i);
    assert.match(stderr, /seed [0-9]+\n/);
    assert.match(stderr, /[0-9]+ tokens, REASON_(LENGTH|STOP_STRING|STOP_ID)/);
  });

  it('says why when there is no server', () => {
    const { status, stdout, stderr } = run('127.0.0.1:1', REPOSITORY);
    assert.equal(status, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^UNAVAILABLE: /);
  });
});
