// A client of the services in proto/, made from those files when it starts.
'use strict';

const assert = require('node:assert/strict');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const REPOSITORY = path.resolve(__dirname, '../../..');

// Names as in the files, 64-bit numbers as strings, enums by name.
const OPTIONS = {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
};

const conclaveV1 = grpc.loadPackageDefinition(
  protoLoader.loadSync(['proto/inference.proto', 'proto/control.proto'], {
    ...OPTIONS,
    includeDirs: [REPOSITORY],
  }),
).conclave.v1;

// Those two are not ours; here is as much of them as the tests need.
const HEALTH = {
  HealthCheckRequest: { fields: { service: { type: 'string', id: 1 } } },
  HealthCheckResponse: {
    fields: { status: { type: 'ServingStatus', id: 1 } },
    nested: {
      ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } },
    },
  },
  Health: {
    methods: { Check: { requestType: 'HealthCheckRequest', responseType: 'HealthCheckResponse' } },
  },
};
const REFLECTION = {
  ServerReflectionRequest: { fields: { list_services: { type: 'string', id: 7 } } },
  ServiceResponse: { fields: { name: { type: 'string', id: 1 } } },
  ListServiceResponse: {
    fields: { service: { rule: 'repeated', type: 'ServiceResponse', id: 1 } },
  },
  ServerReflectionResponse: {
    fields: { list_services_response: { type: 'ListServiceResponse', id: 6 } },
  },
  ServerReflection: {
    methods: {
      ServerReflectionInfo: {
        requestType: 'ServerReflectionRequest',
        requestStream: true,
        responseType: 'ServerReflectionResponse',
        responseStream: true,
      },
    },
  },
};

function packageOf(names, nested) {
  const json = names.reduceRight((inner, name) => ({ nested: { [name]: inner } }), { nested });
  const loaded = grpc.loadPackageDefinition(protoLoader.fromJSON(json, OPTIONS));
  return names.reduce((inner, name) => inner[name], loaded);
}

const healthV1 = packageOf(['grpc', 'health', 'v1'], HEALTH);
const reflectionV1 = packageOf(['grpc', 'reflection', 'v1alpha'], REFLECTION);

// Long enough for a sanitized server on a busy machine; a call that takes longer hangs.
const CALL_MS = 60000;
const deadline = (ms = CALL_MS) => ({ deadline: Date.now() + ms });

// The calls of one gateway as promises. A call that fails rejects with grpc-js's error: `code`,
// `details`, `metadata`.
class Client {
  constructor(address) {
    const credentials = grpc.credentials.createInsecure();
    this.stubs = [conclaveV1.Inference, conclaveV1.Control, healthV1.Health,
      reflectionV1.ServerReflection].map((Service) => new Service(address, credentials));
    [this.inference, this.control, this.health, this.reflection] = this.stubs;
  }

  close() {
    for (const stub of this.stubs) stub.close();
  }

  unary(stub, method, request) {
    return new Promise((resolve, reject) => {
      const done = (error, answer) => (error ? reject(error) : resolve(answer));
      stub[method](request, deadline(), done);
    });
  }

  tokenize(text) {
    return this.unary(this.inference, 'Tokenize', { text }).then((answer) => answer.ids);
  }

  async detokenize(ids, skip_special = true) {
    return (await this.unary(this.inference, 'Detokenize', { ids, skip_special })).text;
  }

  score(request) {
    return this.unary(this.inference, 'Score', request);
  }

  cancel(request_id) {
    return this.unary(this.inference, 'Cancel', { request_id });
  }

  start(request, options = deadline()) {
    return this.inference.Generate(request, options);
  }

  // The whole answer: {started, text, ids, logprobs, prompt_logprobs, finished}.
  generate(request, options) {
    return gather(this.start(request, options));
  }
}

// Reads a stream of Generate to its end; checks the order of its messages on the way.
async function gather(stream) {
  const all = { text: '', ids: [], logprobs: [], prompt_logprobs: [] };
  for await (const { event, started, delta, finished } of stream) {
    assert.equal(all.finished, undefined, `${event} after finished`);
    assert.equal(event === 'started', all.started === undefined, `${event} at the wrong place`);
    if (started) all.started = started;
    if (finished) all.finished = finished;
    if (!delta) continue;
    all.text += delta.text;
    for (const field of ['ids', 'logprobs', 'prompt_logprobs']) all[field].push(...delta[field]);
  }
  assert.ok(all.finished, 'the stream ended with OK and without `finished`');
  assert.equal(all.finished.num_generated_tokens, all.ids.length);
  return all;
}

// The promise rejects with this code, by name, and a message that has all of `words`.
async function fails(promise, code, ...words) {
  const error = await promise.then(
    (answer) => assert.fail(`expected ${code}, got ${JSON.stringify(answer).slice(0, 300)}`),
    (reason) => reason,
  );
  assert.equal(grpc.status[error.code], code, String(error));
  for (const word of words) {
    assert.ok(error.details.includes(word), `"${error.details}" lacks "${word}"`);
  }
  return error;
}

module.exports = { Client, deadline, fails, gather, grpc };
