// A cluster of real processes for one file of tests, and its end whatever happens to the tests.
//
// `conclave up` starts the servers, which die with it; it dies with this process, because setpriv
// asks the kernel for that. So nothing is left over even when the tests are killed.
'use strict';

const { spawn, execFile } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const REPOSITORY = path.resolve(__dirname, '../../..');
const BINARY =
  process.env.CONCLAVE_BINARY || path.join(REPOSITORY, 'build/release/bin/conclave');
const MODEL = 'models/bard';

const SANITIZED = Boolean(process.env.CONCLAVE_SANITIZE);
const SANITIZER_WORDS = ['AddressSanitizer', 'LeakSanitizer', 'ThreadSanitizer', 'runtime error:'];
const START_MS = SANITIZED ? 150000 : 60000;
const STOP_MS = 30000;
const GAUGES_MS = 1200;  // servers look at their gauges once a second

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Waits until `look` (which may be async) gives something true, and gives that.
async function until(what, look, timeoutMs = 20000) {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(50);
  }
}

// The body of what an address answers; no connection is kept for the next time.
function get(url) {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false, timeout: 10000 }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (data) => (text += data));
      answer.on('end', () => resolve(text));
      answer.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error(`no answer from ${url}`)));
    request.on('error', reject);
  });
}

class Cluster {
  // `flags` go to `conclave up`.
  static async start(...flags) {
    const cluster = new Cluster(flags);
    try {
      await cluster.waitUntilReady();
    } catch (error) {
      await cluster.stop().catch(() => {});
      throw error;
    }
    return cluster;
  }

  constructor(flags) {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave_node_'));
    this.state = path.join(this.folder, 'state.json');
    this.said = '';
    const args = ['up', '--model', MODEL, '--state', this.state, ...flags];
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', BINARY, ...args], {
      cwd: REPOSITORY,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.child.stderr.on('data', (data) => (this.said += data));
    this.child.on('error', (error) => (this.said += `${error}\n`));
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        this.end = { code, signal };
        resolve(this.end);
      });
    });
  }

  async waitUntilReady() {
    await until(
      'a ready cluster',
      () => {
        if (this.end) throw new Error(`${BINARY} up ended: ${this.said}`);
        return fs.existsSync(this.state);
      },
      START_MS,
    );
    const { processes } = JSON.parse(fs.readFileSync(this.state, 'utf8'));
    this.processes = processes;
    this.address = this.of('gateway').address;
  }

  of(role) {
    return this.processes.find((process) => process.role === role);
  }

  // The value of a metric; `name` includes its labels.
  async metric(role, name) {
    const text = await get(`http://${this.of(role).metrics}/metrics`);
    const line = text.split('\n').find((one) => one.startsWith(`${name} `));
    if (line === undefined) throw new Error(`${role} has no metric ${name}`);
    return Number(line.split(' ')[1]);
  }

  // All is given back: nothing runs on the node and its whole cache is free.
  async untilIdle() {
    await sleep(GAUGES_MS);  // so that no gauge is older than what was done to the cluster
    const node = (name) => this.metric('attention_node', `conclave_node_${name}`);
    await until('an idle node with a free cache', async () => {
      const [running, waiting] = [await node('running_requests'), await node('waiting_requests')];
      const [pages, free] = [await node('cache_pages'), await node('cache_free_pages')];
      return running === 0 && waiting === 0 && pages > 0 && free === pages;
    });
  }

  // A graceful end: every process exits cleanly, and none has a sanitizer's finding to tell.
  async stop() {
    if (!this.end) this.child.kill('SIGTERM');
    const last = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    const { code, signal } = await this.ended;
    clearTimeout(last);
    fs.rmSync(this.folder, { recursive: true, force: true });
    if (code !== 0) throw new Error(`conclave up ended with ${signal || code}: ${this.said}`);
    for (const word of SANITIZER_WORDS) {
      if (this.said.includes(word)) throw new Error(this.said);
    }
  }
}

// One run of `conclave`, for comparison: what it wrote to stdout and stderr.
async function conclave(...args) {
  return promisify(execFile)(BINARY, args, { cwd: REPOSITORY, timeout: 60000 });
}

module.exports = { Cluster, MODEL, REPOSITORY, SANITIZED, conclave, sleep, until };
