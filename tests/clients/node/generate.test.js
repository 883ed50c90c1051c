// Text and ids in, text, ids and logprobs out: what Generate, Score, Tokenize and Detokenize say
// agrees with each other and, bit for bit, with a run of the model in one process.
'use strict';

const assert = require('node:assert/strict');
const { after, before, describe, it } = require('node:test');
const { Client } = require('./client.js');
const { Cluster, MODEL, conclave } = require('./cluster.js');

const PROMPT = 'KING HENRY: What say you, my lord?';
const GREEDY = { temperature: 0, max_tokens: 24, ignore_eos: true };

// `ids` and `logprob` lines of one process, in the shape of GenerateResponse.
async function generateHere(...args) {
  const run = ['generate', '--model', MODEL, '--print-ids', ...args];
  const { stdout, stderr } = await conclave(...run);
  const entry = (word) => {
    const [id, logprob] = word.split(':').map(Number);
    return { id, logprob: Math.fround(logprob) };
  };
  const lines = (kind) =>
    stderr
      .split('\n')
      .filter((line) => line.startsWith(`logprob ${kind} `))
      .map((line) => line.split(' ').slice(3).map(entry))
      .map(([chosen, ...best]) => ({ chosen, best }));
  return {
    ids: stdout.trim().split(',').map(Number),
    logprobs: lines('generated'),
    prompt_logprobs: lines('prompt'),
  };
}

describe('a client of a cluster', () => {
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

  it('gets the text of the ids, from a text prompt', async () => {
    const answer = await client.generate({ text: PROMPT, sampling: { seed: 7, max_tokens: 64 } });
    assert.equal(answer.text, await client.detokenize(answer.ids));
    assert.equal(answer.started.num_prompt_tokens, (await client.tokenize(PROMPT)).length);
    assert.equal(answer.started.seed, '7');
    assert.notEqual(answer.started.request_id, '');
  });

  it('gets the same from the ids of the text', async () => {
    const sampling = { seed: 7, max_tokens: 64, num_logprobs: 2 };
    const ids = await client.tokenize(PROMPT);
    const of_text = await client.generate({ text: PROMPT, sampling });
    const of_ids = await client.generate({ ids: { ids }, sampling });
    for (const field of ['text', 'ids', 'logprobs', 'finished']) {
      assert.deepEqual(of_ids[field], of_text[field], field);
    }
  });

  it('gets the same ids for the same seed, and others for another', async () => {
    const ids = async (seed) => {
      const sampling = { seed, temperature: 1, max_tokens: 32, ignore_eos: true };
      return (await client.generate({ text: PROMPT, sampling })).ids;
    };
    const [one, again, other] = await Promise.all([ids('11'), ids('11'), ids('12')]);
    assert.equal(one.length, 32);
    assert.deepEqual(again, one);
    assert.notDeepEqual(other, one);
  });

  it('is told the seed that was drawn for it, which gives the same again', async () => {
    const sampling = { temperature: 1, max_tokens: 24 };
    const first = await client.generate({ text: PROMPT, sampling });
    const { seed } = first.started;
    const again = await client.generate({ text: PROMPT, sampling: { ...sampling, seed } });
    assert.deepEqual(again.ids, first.ids);
    const fresh = await client.generate({ text: PROMPT, sampling });
    assert.notEqual(fresh.started.seed, seed);
  });

  it('takes the largest seed there is', async () => {
    const seed = '18446744073709551615';
    const answer = await client.generate({ text: PROMPT, sampling: { seed, max_tokens: 1 } });
    assert.equal(answer.started.seed, seed);
  });

  it('gets the ids and logprobs of a run in one process', async () => {
    const here = await generateHere('--prompt', PROMPT, '--seed', '21', '--temperature', '0.8',
      '--top-k', '50', '--top-p', '0.9', '--max-tokens', '48', '--logprobs', '3',
      '--prompt-logprobs', '--repetition-penalty', '1.1', '--logit-bias', '264:1.5');
    const sampling = {
      seed: 21, temperature: 0.8, top_k: 50, top_p: 0.9, max_tokens: 48, num_logprobs: 3,
      prompt_logprobs: true, repetition_penalty: 1.1, logit_bias: [{ id: 264, bias: 1.5 }],
    };
    const answer = await client.generate({ text: PROMPT, sampling });
    assert.equal(here.logprobs.length, here.ids.length);
    assert.ok(here.prompt_logprobs.length > 5);
    for (const field of ['ids', 'logprobs', 'prompt_logprobs']) {
      assert.deepEqual(answer[field], here[field], field);
    }
  });

  it('gets what the model folder says where it says nothing', async () => {
    const here = await generateHere('--prompt', PROMPT, '--seed', '5');
    const answer = await client.generate({ text: PROMPT, sampling: { seed: 5 } });
    assert.deepEqual(answer.ids, here.ids);
  });

  it('is cut at a stop string, which is named', async () => {
    const whole = await client.generate({ text: PROMPT, sampling: GREEDY });
    const stop = whole.text.slice(12, 17);
    const cut = await client.generate({ text: PROMPT, sampling: GREEDY, stop: ['\u0001', stop] });
    assert.equal(cut.finished.reason, 'REASON_STOP_STRING');
    assert.equal(cut.finished.stop_string, stop);
    assert.equal(cut.text, whole.text.slice(0, whole.text.indexOf(stop)));
    assert.deepEqual(cut.ids, whole.ids.slice(0, cut.ids.length));
  });

  it('ends with a stop id, or with the last token it may have', async () => {
    const whole = await client.generate({ text: PROMPT, sampling: GREEDY });
    assert.equal(whole.finished.reason, 'REASON_LENGTH');
    assert.equal(whole.ids.length, GREEDY.max_tokens);
    const id = whole.ids[9];
    const sampling = { ...GREEDY, stop_ids: [id] };
    const cut = await client.generate({ text: PROMPT, sampling });
    assert.equal(cut.finished.reason, 'REASON_STOP_ID');
    assert.equal(cut.finished.stop_string, '');
    assert.deepEqual(cut.ids, whole.ids.slice(0, whole.ids.indexOf(id) + 1));
  });

  it('ends at the end of the context', async () => {
    const ids = Array.from({ length: 1020 }, (_, i) => 300 + (i % 500));
    const sampling = { ...GREEDY, max_tokens: 100 };
    const answer = await client.generate({ ids: { ids }, sampling });
    assert.equal(answer.finished.reason, 'REASON_LENGTH');
    assert.equal(answer.ids.length, 4);
  });

  it('scores a text as generating it did', async () => {
    const sampling = { ...GREEDY, num_logprobs: 2, prompt_logprobs: true };
    const answer = await client.generate({ text: PROMPT, sampling });
    const prompt = await client.tokenize(PROMPT);
    const ids = [...prompt, ...answer.ids];
    const logprobs = [...answer.prompt_logprobs, ...answer.logprobs];
    for (const num_prompt_ids of [0, 1, prompt.length, ids.length]) {
      const score = await client.score({ ids: { ids }, num_logprobs: 2, num_prompt_ids });
      assert.deepEqual(score.ids, ids);
      assert.deepEqual(score.logprobs, logprobs, `num_prompt_ids ${num_prompt_ids}`);
    }
    const of_text = await client.score({ text: PROMPT, num_logprobs: 2 });
    assert.deepEqual(of_text.ids, prompt);
    assert.deepEqual(of_text.logprobs, answer.prompt_logprobs);
    assert.notEqual(of_text.request_id, '');
  });

  it('turns text into ids and back', async () => {
    for (const text of ['To be, or not to be', '  two  blanks\n\n', 'naïve — 東京 🎭', '']) {
      const ids = await client.tokenize(text);
      assert.equal(await client.detokenize(ids, true), text);
      const { stdout } = await conclave('tokenize', '--model', MODEL, '--text', text);
      assert.equal(ids.join(','), stdout.trim());
    }
    const [bos] = await client.tokenize('x');
    assert.match(await client.detokenize([bos], false), /begin/);
    assert.equal(await client.detokenize([bos], true), '');
  });

  it('gets whole characters, whatever the tokens are', async () => {
    const sampling = { seed: 3, temperature: 100, max_tokens: 200, ignore_eos: true };
    const answer = await client.generate({ text: PROMPT, sampling });
    assert.equal(answer.text, await client.detokenize(answer.ids));
  });

  it('answers many at a time as one at a time', async () => {
    const request = (seed) => ({
      text: PROMPT,
      sampling: { seed, temperature: 1, max_tokens: 20 },
    });
    const seeds = Array.from({ length: 24 }, (_, i) => i);
    const together = await Promise.all(seeds.map((seed) => client.generate(request(seed))));
    for (const seed of [0, 11, 23]) {
      assert.deepEqual((await client.generate(request(seed))).ids, together[seed].ids);
    }
  });

  it('knows the model that is served', async () => {
    const { models } = await client.unary(client.inference, 'ListModels', {});
    assert.deepEqual(models, [{
      name: 'bard', family: 'deepseek_v3', context_length: 1024, vocab_size: 2048,
      serves_text: true, ready: true,
    }]);
    const named = { model: 'bard', text: PROMPT, sampling: { max_tokens: 1 } };
    assert.equal((await client.generate(named)).ids.length, 1);
  });
});
