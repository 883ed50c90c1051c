// Every request that cannot be served ends with its own status and words that name the field, and
// leaves the server as it was.
'use strict';

const assert = require('node:assert/strict');
const { after, before, describe, it } = require('node:test');
const { Client, fails, gather, grpc } = require('./client.js');
const { Cluster } = require('./cluster.js');

const IDS = { ids: [5, 6, 7] };
const WRONG = 'INVALID_ARGUMENT';

const request = (fields) => ({ ids: IDS, ...fields });
const prompt = (fields) => ({ sampling: { max_tokens: 4 }, ...fields });
const sampling = (fields) => ({ ids: IDS, sampling: { max_tokens: 4, ...fields } });
const bias = (...ids) => sampling({ logit_bias: ids.map((id) => ({ id, bias: 1 })) });
const ids = (...values) => prompt({ ids: { ids: values } });

// [what it is, the request, the code, words of the message...]
const GENERATE = [
  ['unknown model', request({ model: 'hamlet' }), 'NOT_FOUND', 'model', 'hamlet', 'bard'],

  ['no prompt', prompt({}), WRONG, 'neither text nor ids'],
  ['empty text', prompt({ text: '' }), WRONG, 'prompt is empty', 'text'],
  ['no ids', ids(), WRONG, 'prompt is empty', 'id'],
  ['id outside the vocabulary', ids(5, 2048), WRONG, 'prompt[1]', '2048'],
  ['negative id', ids(-1), WRONG, 'prompt[0]', '-1'],
  ['NUL in the text', prompt({ text: 'a\0b' }), WRONG, 'NUL', 'text'],
  ['prompt of the whole context', ids(...Array(1024).fill(5)), WRONG, 'prompt', '1024'],
  ['prompt longer than the context', ids(...Array(5000).fill(5)), WRONG, 'prompt', '5000', '1024'],

  ['max_tokens 0', sampling({ max_tokens: 0 }), WRONG, 'max_tokens is 0'],
  ['max_tokens negative', sampling({ max_tokens: -3 }), WRONG, 'max_tokens is -3'],
  ['min_tokens negative', sampling({ min_tokens: -1 }), WRONG, 'min_tokens is -1'],
  ['min_tokens over max_tokens', sampling({ min_tokens: 5 }), WRONG, 'min_tokens is 5', '4'],
  ['temperature NaN', sampling({ temperature: NaN }), WRONG, 'temperature is nan'],
  ['temperature negative', sampling({ temperature: -0.5 }), WRONG, 'temperature is -0.5'],
  ['temperature 1000', sampling({ temperature: 1000 }), WRONG, 'temperature is 1000', '100'],
  ['temperature infinite', sampling({ temperature: Infinity }), WRONG, 'temperature is inf'],
  ['top_p 0', sampling({ top_p: 0 }), WRONG, 'top_p is 0'],
  ['top_p 2', sampling({ top_p: 2 }), WRONG, 'top_p is 2'],
  ['top_k negative', sampling({ top_k: -1 }), WRONG, 'top_k is -1'],
  ['min_p negative', sampling({ min_p: -0.25 }), WRONG, 'min_p is -0.25'],
  ['min_p 2', sampling({ min_p: 2 }), WRONG, 'min_p is 2'],
  ['repetition_penalty 0', sampling({ repetition_penalty: 0 }), WRONG, 'repetition_penalty is 0'],
  ['repetition_penalty 11', sampling({ repetition_penalty: 11 }), WRONG,
    'repetition_penalty is 11'],
  ['presence_penalty -3', sampling({ presence_penalty: -3 }), WRONG, 'presence_penalty is -3'],
  ['presence_penalty 3', sampling({ presence_penalty: 3 }), WRONG, 'presence_penalty is 3'],
  ['frequency_penalty -3', sampling({ frequency_penalty: -3 }), WRONG, 'frequency_penalty is -3'],
  ['frequency_penalty 3', sampling({ frequency_penalty: 3 }), WRONG, 'frequency_penalty is 3'],
  ['logit_bias of one id twice', bias(9, 8, 9), WRONG, 'logit_bias', '9 twice'],
  ['logit_bias of an unknown id', bias(2048), WRONG, 'logit_bias', '2048'],
  ['logit_bias of a negative id', bias(-1), WRONG, 'logit_bias', '-1'],
  ['1,025 logit_bias entries', bias(...Array(1025).keys()), WRONG, 'logit_bias', '1025'],
  ['logit_bias of 101', sampling({ logit_bias: [{ id: 9, bias: 101 }] }), WRONG,
    'logit_bias of id 9', '101'],
  ['stop id outside the vocabulary', sampling({ stop_ids: [5, 9999] }), WRONG, 'stop_ids', '9999'],
  ['num_logprobs 21', sampling({ num_logprobs: 21 }), WRONG, 'num_logprobs is 21', '20'],
  ['prompt_logprobs alone', sampling({ prompt_logprobs: true }), WRONG, 'prompt_logprobs',
    'num_logprobs'],

  ['17 stop strings', request({ stop: Array(17).fill('x') }), WRONG, 'stop strings', '17', '16'],
  ['empty stop string', request({ stop: ['x', ''] }), WRONG, 'stop[1]'],
  ['stop string of 257 bytes', request({ stop: ['x'.repeat(257)] }), WRONG, 'stop[0]', '257',
    '256'],
  ['priority 1000', request({ priority: 1000 }), WRONG, 'priority is 1000', '100'],
  ['priority -101', request({ priority: -101 }), WRONG, 'priority is -101'],
  ['request_id with control characters', request({ request_id: 'a\nb' }), WRONG, 'request_id',
    'a\\nb'],
  ['request_id of 200 bytes', request({ request_id: 'r'.repeat(200) }), WRONG, 'request_id', '200',
    '128'],
];

const SCORE = [
  ['unknown model', { ids: IDS, model: 'hamlet' }, 'NOT_FOUND', 'hamlet'],
  ['no prompt', {}, WRONG, 'neither text nor ids'],
  ['no ids', { ids: { ids: [] } }, WRONG, 'prompt is empty'],
  ['id outside the vocabulary', { ids: { ids: [2048] } }, WRONG, '2048'],
  ['more than the context', { ids: { ids: Array(1025).fill(5) } }, WRONG, '1025', '1024'],
  ['num_logprobs -1', { ids: IDS, num_logprobs: -1 }, WRONG, 'num_logprobs is -1'],
  ['num_logprobs 21', { ids: IDS, num_logprobs: 21 }, WRONG, 'num_logprobs is 21'],
  ['num_prompt_ids -1', { ids: IDS, num_prompt_ids: -1 }, WRONG, 'num_prompt_ids is -1'],
  ['num_prompt_ids 4 of 3', { ids: IDS, num_prompt_ids: 4 }, WRONG, 'num_prompt_ids is 4'],
  ['request_id of 200 bytes', { ids: IDS, request_id: 'r'.repeat(200) }, WRONG, 'request_id'],
];

// A request that is sent as these bytes.
function raw(client, bytes) {
  const path = '/conclave.v1.Inference/Generate';
  const as_is = (value) => value;
  return new Promise((resolve, reject) => {
    const call = client.inference.makeServerStreamRequest(path, as_is, as_is, bytes);
    call.on('data', () => {});
    call.on('error', reject);
    call.on('end', resolve);
  });
}

describe('a request that cannot be served', () => {
  let cluster;
  let client;
  let good;
  before(async () => {
    cluster = await Cluster.start();
    client = new Client(cluster.address);
    good = await client.generate(sampling({ seed: 1 }));
  });
  after(async () => {
    client?.close();
    await cluster?.stop();
  });

  // What was refused has left nothing behind.
  async function still_generates() {
    assert.deepEqual((await client.generate(sampling({ seed: 1 }))).ids, good.ids);
    await cluster.untilIdle();
  }

  for (const [what, message, code, ...words] of GENERATE) {
    it(`Generate: ${what}`, () => fails(client.generate(message), code, ...words));
  }
  for (const [what, message, code, ...words] of SCORE) {
    it(`Score: ${what}`, () => fails(client.score(message), code, ...words));
  }

  it('Tokenize and Detokenize', async () => {
    const tokenize = { model: 'hamlet', text: 'x' };
    await fails(client.unary(client.inference, 'Tokenize', tokenize), 'NOT_FOUND', 'hamlet');
    const detokenize = { model: 'hamlet', ids: [5] };
    await fails(client.unary(client.inference, 'Detokenize', detokenize), 'NOT_FOUND', 'hamlet');
    await fails(client.detokenize([5, 2048]), WRONG, 'ids[1]', '2048');
    await fails(client.detokenize([-1]), WRONG, 'ids[0]', '-1');
  });

  // The library that reads them chooses the code, see docs/clients.md.
  it('bytes that are no message', async () => {
    for (const bytes of [Buffer.from([0xff]), Buffer.from([0x1a, 0x05, 0x61])]) {
      const error = await raw(client, bytes).catch((reason) => reason);
      assert.ok(error?.code > 0, `ended with ${error}`);
    }
  });

  it('a method that is not there', async () => {
    const call = new Promise((resolve, reject) => {
      const as_is = (value) => value;
      const path = '/conclave.v1.Inference/Translate';
      client.inference.makeUnaryRequest(path, as_is, as_is, Buffer.alloc(0), (error, answer) =>
        error ? reject(error) : resolve(answer));
    });
    await fails(call, 'UNIMPLEMENTED');
  });

  it('a request_id that is under way', async () => {
    const long = { request_id: 'twin', ...sampling({ max_tokens: 900, ignore_eos: true }) };
    const first = client.start(long);
    const ended = gather(first).catch((error) => error);
    await new Promise((resolve) => first.once('data', resolve));
    await fails(client.generate(long), 'ALREADY_EXISTS', 'request_id', 'twin');
    await fails(client.score({ request_id: 'twin', ids: IDS }), 'ALREADY_EXISTS', 'twin');
    first.cancel();
    assert.equal((await ended).code, grpc.status.CANCELLED);
    await cluster.untilIdle();
    const again = { request_id: 'twin', ...sampling({ seed: 1 }) };
    assert.deepEqual((await client.generate(again)).ids, good.ids);
  });

  it('and the server still generates', still_generates);
});

describe('a request that is longer than the whole cache', () => {
  let cluster;
  let client;
  before(async () => {
    cluster = await Cluster.start('--cache-tokens', '128');
    client = new Client(cluster.address);
  });
  after(async () => {
    client?.close();
    await cluster?.stop();
  });

  it('is RESOURCE_EXHAUSTED with a hint when to come again', async () => {
    const long = sampling({ max_tokens: 200 });
    const error = await fails(client.generate(long), 'RESOURCE_EXHAUSTED', 'max_tokens', '128');
    const [hint] = error.metadata.get('grpc-retry-pushback-ms');
    assert.match(hint, /^[0-9]+$/);
    const text = { ids: { ids: Array(300).fill(5) } };
    await fails(client.score(text), 'RESOURCE_EXHAUSTED', '128');
  });

  it('while one that just fits is served', async () => {
    const fits = sampling({ max_tokens: 126, ignore_eos: true });
    assert.equal((await client.generate(fits)).ids.length, 126);
  });
});
