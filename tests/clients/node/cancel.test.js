// The ways in which a request ends early: each gives everything back, and none goes on unheard.
'use strict';

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { after, before, describe, it } = require('node:test');
const { Client, deadline, fails, gather } = require('./client.js');
const { Cluster } = require('./cluster.js');

const LONG = { text: 'HAMLET:', sampling: { seed: 1, max_tokens: 1000, ignore_eos: true } };

// A process that asks for a long text and says so when it comes.
const READER = `
  const { Client } = require('./client.js');
  const stream = new Client(process.argv[1]).start(${JSON.stringify(LONG)});
  stream.on('data', ({ event }) => event === 'delta' && console.log(event));
`;

describe('a request that ends early', () => {
  let cluster;
  let client;
  before(async () => {
    cluster = await Cluster.start();
    client = new Client(cluster.address);
  });
  after(async () => {
    client?.close();
    await cluster?.stop();
  });

  // A request that has begun to generate: {stream, ended}.
  async function under_way(fields = {}) {
    const stream = client.start({ ...LONG, ...fields });
    const ended = gather(stream);
    ended.catch(() => {});
    await new Promise((resolve, reject) => {
      stream.on('data', ({ event }) => event === 'delta' && resolve());
      stream.on('error', reject);
    });
    return { stream, ended };
  }

  const ended_with = (outcome) =>
    cluster.metric('attention_node', `conclave_node_requests_total{outcome="${outcome}"}`);

  // The node is idle, and not because it came to the end of the text.
  async function idle_unfinished(num_finished = 0) {
    await cluster.untilIdle();
    assert.equal(await ended_with('finished'), num_finished);
  }

  it('by Cancel with its request_id', async () => {
    const { ended } = await under_way({ request_id: 'to-be' });
    await client.cancel('to-be');
    await fails(ended, 'CANCELLED');
    await fails(client.cancel('to-be'), 'NOT_FOUND', 'to-be');
    await idle_unfinished();
  });

  it('by Cancel with the request_id that the gateway made', async () => {
    const stream = client.start(LONG);
    const ended = gather(stream);
    ended.catch(() => {});
    const [{ started }] = await new Promise((resolve) =>
      stream.once('data', (message) => resolve([message])));
    await client.cancel(started.request_id);
    await fails(ended, 'CANCELLED');
    await idle_unfinished();
  });

  it('but not by Cancel with an unknown request_id', async () => {
    await fails(client.cancel('nobody'), 'NOT_FOUND', 'nobody');
    await fails(client.cancel(''), 'NOT_FOUND');
  });

  it('by its client, who goes away', async () => {
    const { stream, ended } = await under_way();
    stream.cancel();
    await fails(ended, 'CANCELLED');
    await idle_unfinished();
  });

  it('by its client, whose process is killed', async () => {
    const stdio = ['ignore', 'pipe', 'inherit'];
    const reader = spawn(process.execPath, ['-e', READER, cluster.address], {
      cwd: __dirname, stdio, timeout: 60000,
    });
    await once(reader.stdout, 'data');
    reader.kill('SIGKILL');
    await once(reader, 'close');
    await idle_unfinished();
  });

  it('by its deadline', async () => {
    await fails(client.generate(LONG, deadline(300)), 'DEADLINE_EXCEEDED');
    await idle_unfinished();
  });

  it('by its deadline before it has begun', async () => {
    await fails(client.generate(LONG, deadline(1)), 'DEADLINE_EXCEEDED');
    await fails(client.generate(LONG, deadline(-1000)), 'DEADLINE_EXCEEDED');
    await idle_unfinished();
  });

  it('among many, of which the others go on', async () => {
    const short = (seed) => ({ ...LONG, sampling: { ...LONG.sampling, seed, max_tokens: 40 } });
    const alone = await client.generate(short(2));
    const doomed = await Promise.all([1, 2, 3].map(() => under_way()));
    const kept = [client.generate(short(2)), client.generate(short(2))];
    for (const { stream } of doomed) stream.cancel();
    for (const { ids } of await Promise.all(kept)) assert.deepEqual(ids, alone.ids);
    for (const { ended } of doomed) await fails(ended, 'CANCELLED');
    await idle_unfinished(3);
  });

  it('and the server still generates', async () => {
    const sampling = { seed: 1, max_tokens: 8 };
    const answer = await client.generate({ ...LONG, sampling });
    assert.ok(answer.ids.length > 0);
  });
});
