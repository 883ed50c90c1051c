// What a cluster says about itself: Control.GetStatus, health, reflection.
'use strict';

const assert = require('node:assert/strict');
const { after, before, describe, it } = require('node:test');
const { Client, deadline, fails } = require('./client.js');
const { Cluster, until } = require('./cluster.js');

describe('a cluster of one node and two expert servers', () => {
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

  const status = () => client.unary(client.control, 'GetStatus', {});
  const health = (service) => client.unary(client.health, 'Check', { service });
  const addresses = (servers) => servers.map((server) => server.address).sort();
  const started = (role) => addresses(cluster.processes.filter((one) => one.role === role));

  it('tells who is there and what they hold', async () => {
    const now = await status();
    assert.equal(now.model, 'bard');
    assert.equal(now.routing, 'local');
    assert.equal(now.exact, true);
    assert.equal(now.ready, true);
    assert.deepEqual(addresses(now.nodes), started('attention_node'));
    assert.deepEqual(addresses(now.expert_servers), started('expert_server'));
    // Layers 1 to 3 of models/bard have 16 routed experts each.
    assert.equal(now.coverage.num_covered, 48);
    assert.equal(now.coverage.num_total, 48);
    assert.deepEqual(now.coverage.missing?.layers ?? [], []);
    for (const server of now.expert_servers) {
      const held = server.held.layers.map(({ layer_idx, count }) => [
        layer_idx, count.reduce((sum, one) => sum + one, 0)]);
      assert.deepEqual(held, [[1, 8], [2, 8], [3, 8]]);
      assert.ok(Number(server.held_bytes) > 0);
      assert.equal(server.draining, false);
    }
  });

  it('counts what it has done', async () => {
    const sampling = { max_tokens: 16, ignore_eos: true };
    await client.generate({ text: 'To be', sampling });
    await until('16 tokens in the status', async () =>
      Number((await status()).nodes[0].load.num_tokens) >= 16);
    await until('picks of every expert server', async () =>
      (await status()).expert_servers.every(({ load }) =>
        load.picks.some((picks) => Number(picks) > 0)));
    const now = await until('an idle cluster', async () => {
      const seen = await status();
      return seen.num_assigned === 0 && seen.nodes[0].load.num_running === 0 && seen;
    });
    assert.equal(now.num_queued, 0);
    assert.equal(now.nodes[0].load.num_free_pages, now.nodes[0].load.num_pages);
    assert.ok(now.nodes[0].silence_seconds < 30);
    assert.ok(now.layer_imbalance.length > 0);
  });

  it('is healthy by every name, and knows no other', async () => {
    for (const service of ['', 'liveness', 'readiness', 'conclave.v1.Inference']) {
      assert.equal((await health(service)).status, 'SERVING', service);
    }
    await fails(health('conclave.v1.Nothing'), 'NOT_FOUND');
  });

  it('lists its services by reflection', async () => {
    const call = client.reflection.ServerReflectionInfo(deadline());
    call.write({ list_services: '' });
    call.end();
    const names = [];
    for await (const { list_services_response } of call) {
      names.push(...list_services_response.service.map((service) => service.name));
    }
    for (const name of ['conclave.v1.Inference', 'conclave.v1.Control', 'grpc.health.v1.Health']) {
      assert.ok(names.includes(name), `${names} lack ${name}`);
    }
  });
});
