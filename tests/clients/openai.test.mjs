// The official OpenAI SDK as it is, pointed at the gateway.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import OpenAI from 'openai';
import { all, errorOf, fromBoth, gateway, imageUrl, key } from './common.mjs';

// the SDK would repeat failed requests by itself and hide what the gateway answered first
const client = new OpenAI({ baseURL: gateway + '/v1', apiKey: key, maxRetries: 0 });

const weatherTool = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather in a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

function chat(model, more = {}) {
  return { model, messages: [{ role: 'user', content: 'Hi' }], ...more };
}

function complete(model, more) {
  return client.chat.completions.create(chat(model, more));
}

function textOf(chunks) {
  return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');
}

fromBoth('a completion has its text, usage and finish reason', async (at) => {
  const completion = await complete(at('sdk-text'));
  assert.equal(completion.object, 'chat.completion');
  assert.equal(completion.choices[0].message.role, 'assistant');
  assert.equal(completion.choices[0].message.content, 'Hello there');
  assert.equal(completion.choices[0].finish_reason, 'stop');
  assert.deepEqual(completion.usage, { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 });
});

test('a completion carries the id of its request', async () => {
  const { data, request_id: id, response } = await complete('openai/sdk-text').withResponse();
  assert.ok(id);
  assert.equal(response.headers.get('x-request-id'), id);
  assert.equal(data._request_id, id);
});

fromBoth('a stream brings the text in pieces, a finish reason, and ends', async (at) => {
  const chunks = await all(await complete(at('sdk-text'), { stream: true }));
  assert.equal(textOf(chunks), 'Hello there');
  assert.ok(chunks.filter((chunk) => chunk.choices[0]?.delta.content).length > 1, 'the text came in one piece');
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  assert.ok(chunks.every((chunk) => !chunk.usage), 'nobody asked for usage');
});

fromBoth('the last chunk of a stream has the usage if it was asked for', async (at) => {
  const chunks = await all(await complete(at('sdk-text'), { stream: true, stream_options: { include_usage: true } }));
  assert.equal(textOf(chunks), 'Hello there');
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.deepEqual(chunks.at(-1).usage, { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 });
});

fromBoth('text outside ASCII arrives whole, even if a network chunk splits a character', async (at) => {
  assert.equal(textOf(await all(await complete(at('sdk-split'), { stream: true }))), 'Grüße 你好 🌍');
});

fromBoth('a tool is called, and its result is taken', async (at) => {
  const asked = await complete(at('sdk-tool'), { tools: [weatherTool] });
  assert.equal(asked.choices[0].finish_reason, 'tool_calls');
  const message = asked.choices[0].message;
  assert.equal(message.content, null);
  assert.equal(message.tool_calls.length, 1);
  assert.equal(message.tool_calls[0].function.name, 'weather');
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: 'Oslo' });

  const result = { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'rain' };
  const answered = await complete(at('sdk-tool'), {
    tools: [weatherTool],
    messages: [{ role: 'user', content: 'Hi' }, message, result],
  });
  assert.equal(answered.choices[0].message.content, 'call-1: rain');
});

fromBoth('the stream helper puts a streamed tool call together', async (at) => {
  const message = await client.chat.completions.stream(chat(at('sdk-tool'), { tools: [weatherTool] })).finalMessage();
  assert.equal(message.tool_calls.length, 1);
  assert.equal(message.tool_calls[0].id, 'call-1');
  assert.equal(message.tool_calls[0].function.name, 'weather');
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: 'Oslo' });
});

fromBoth('two tools are called in one stream, after some words', async (at) => {
  const message = await client.chat.completions.stream(chat(at('sdk-two-tools'), { tools: [weatherTool] })).finalMessage();
  assert.equal(message.content, 'Let me look');
  assert.deepEqual(message.tool_calls.map((call) => [call.id, call.function.name, JSON.parse(call.function.arguments)]),
    [['call-1', 'weather', { city: 'Oslo' }], ['call-2', 'weather', { city: 'Rome' }]]);
});

fromBoth('an image reaches the provider as it was sent', async (at, provider) => {
  const completion = await complete(at('sdk-image'), {
    messages: [{
      role: 'user',
      content: [{ type: 'text', text: 'What is this?' }, { type: 'image_url', image_url: { url: imageUrl, detail: 'low' } }],
    }],
  });
  assert.equal(completion.choices[0].message.content, provider === 'openai' ? 'low ' + imageUrl : imageUrl);
});

fromBoth('an answer has the form that was asked for', async (at) => {
  const response_format = {
    type: 'json_schema',
    json_schema: { name: 'place', strict: true, schema: { ...weatherTool.function.parameters, additionalProperties: false } },
  };
  const completion = await client.chat.completions.parse(chat(at('sdk-json'), { response_format }));
  assert.deepEqual(completion.choices[0].message.parsed, { city: 'Oslo' });
});

test('texts become embeddings', async () => {
  // floats if they are asked for, otherwise the SDK asks for base64 and reads that
  for (const encoding_format of [undefined, 'float']) {
    const made = await client.embeddings.create({ model: 'openai/sdk-embedding', input: ['One', 'Two'], encoding_format });
    assert.deepEqual(made.data.map((one) => Array.from(one.embedding)), [[0.5, -0.25], [0.5, -0.25]]);
    assert.deepEqual(made.usage, { prompt_tokens: 3, total_tokens: 3 });
  }
});

test('a provider that makes no embeddings is a BadRequestError that names the model', async () => {
  const error = await errorOf(client.embeddings.create({ model: 'anthropic/sdk-text', input: 'One' }), OpenAI.BadRequestError);
  assert.equal(error.code, 'unsupported_parameter');
  assert.equal(error.param, 'model');
});

test('what the provider has no words for is a BadRequestError that names it', async () => {
  const error = await errorOf(complete('anthropic/sdk-text', { n: 2 }), OpenAI.BadRequestError);
  assert.equal(error.code, 'unsupported_parameter');
  assert.equal(error.param, 'n');
});

test('the list of models has the demo', async () => {
  const models = await all(client.models.list());
  assert.ok(models.some((model) => model.id === 'demo' && model.object === 'model'), JSON.stringify(models));
  assert.equal((await client.models.retrieve('demo')).id, 'demo');
});

test('the demo answers a stream', async () => {
  const chunks = await all(await client.chat.completions.create(chat('', { model: 'demo', stream: true })));
  assert.match(textOf(chunks), /demo provider/);
});

test('a wrong key is an AuthenticationError', async () => {
  const stranger = new OpenAI({ baseURL: gateway + '/v1', apiKey: 'wrong', maxRetries: 0 });
  const error = await errorOf(stranger.chat.completions.create(chat('openai/sdk-text')), OpenAI.AuthenticationError);
  assert.equal(error.status, 401);
  assert.equal(error.code, 'invalid_api_key');
});

test('an unknown model is a NotFoundError', async () => {
  for (const stream of [false, true]) {
    const error = await errorOf(client.chat.completions.create(chat('', { model: 'sdk-nobody', stream })), OpenAI.NotFoundError);
    assert.equal(error.status, 404);
    assert.equal(error.code, 'model_not_found');
    assert.equal(error.type, 'invalid_request_error');
    assert.match(error.message, /sdk-nobody/);
    assert.ok(error.requestID);
  }
});

test('a request without messages is a BadRequestError that names them', async () => {
  const error = await errorOf(complete('openai/sdk-text', { messages: [] }), OpenAI.BadRequestError);
  assert.equal(error.status, 400);
  assert.equal(error.param, 'messages');
  assert.equal(error.type, 'invalid_request_error');
});

fromBoth('a request that the provider refuses is a BadRequestError in its words', async (at, provider) => {
  const error = await errorOf(complete(at('sdk-refused')), OpenAI.BadRequestError);
  assert.equal(error.code, provider === 'openai' ? 'its_code' : null);
  assert.equal(error.type, provider === 'openai' ? 'provider_error' : 'invalid_request_error');
  assert.match(error.message, /the provider says 400/);
});

fromBoth('a provider that limits us is a RateLimitError with the time to wait', async (at) => {
  for (const stream of [false, true]) {
    const error = await errorOf(complete(at('sdk-limited'), { stream }), OpenAI.RateLimitError);
    assert.equal(error.status, 429);
    assert.equal(error.code, 'rate_limit_exceeded');
    assert.match(error.headers.get('retry-after'), /^[1-7]$/);
  }
});

fromBoth('a provider that fails is an InternalServerError', async (at) => {
  const error = await errorOf(complete(at('sdk-failing')), OpenAI.InternalServerError);
  assert.equal(error.status, 502);
  assert.equal(error.type, 'api_error');
});

fromBoth('a provider that hangs up is an InternalServerError', async (at) => {
  const error = await errorOf(complete(at('sdk-hanging-up'), { stream: true }), OpenAI.InternalServerError);
  assert.equal(error.status, 502);
  assert.equal(error.type, 'api_error');
});

fromBoth('a provider that is cut off in a stream is an APIError after what it said', async (at) => {
  const stream = await complete(at('sdk-cut'), { stream: true });
  const chunks = [];
  const reading = (async () => {
    for await (const chunk of stream) {
      chunks.push(chunk);
    }
  })();
  const error = await errorOf(reading, OpenAI.APIError);
  assert.equal(textOf(chunks), 'Half an');
  assert.equal(error.type, 'api_error');
});

// the provider says nothing more here, so only the caller can end these streams
fromBoth('an aborted stream ends at once', async (at) => {
  const abort = new AbortController();
  const stream = await client.chat.completions.create(chat(at('sdk-aborted'), { stream: true }), { signal: abort.signal });
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
    if (textOf(chunks)) {
      abort.abort();
    }
  }
  assert.equal(textOf(chunks), 'One');
});

fromBoth('a loop that is left early ends its stream', async (at) => {
  for await (const chunk of await complete(at('sdk-left'), { stream: true })) {
    if (chunk.choices[0].delta.content) {
      assert.equal(chunk.choices[0].delta.content, 'One');
      break;
    }
  }
});

test('a repeated idempotency key brings the same answer again', async () => {
  const body = chat('openai/sdk-once');
  const headers = { 'Idempotency-Key': randomUUID() };
  const first = await client.chat.completions.create(body, { headers });
  const { data: second, response } = await client.chat.completions.create(body, { headers }).withResponse();
  assert.equal(second.id, first.id);
  assert.equal(response.headers.get('idempotent-replayed'), 'true');

  const other = await client.chat.completions.create(body, { headers: { 'Idempotency-Key': randomUUID() } });
  assert.notEqual(other.id, first.id);
});

test('an idempotency key with another body is an UnprocessableEntityError', async () => {
  const headers = { 'Idempotency-Key': randomUUID() };
  await client.chat.completions.create(chat('openai/sdk-text'), { headers });
  const again = client.chat.completions.create(chat('openai/sdk-text', { temperature: 1 }), { headers });
  await errorOf(again, OpenAI.UnprocessableEntityError);
});

fromBoth('a response has its text, usage and status', async (at) => {
  const response = await client.responses.create({ model: at('sdk-text'), input: 'Hi', store: false });
  assert.equal(response.status, 'completed');
  assert.equal(response.output_text, 'Hello there');
  assert.deepEqual([response.usage.input_tokens, response.usage.output_tokens], [3, 2]);
});

fromBoth('a streamed response is put together by the SDK as the whole one', async (at) => {
  const stream = client.responses.stream({ model: at('sdk-text'), input: 'Hi', store: false });
  const deltas = [];
  stream.on('response.output_text.delta', (event) => deltas.push(event.delta));
  const response = await stream.finalResponse();
  assert.equal(deltas.join(''), 'Hello there');
  assert.equal(response.output_text, 'Hello there');
});

fromBoth('a streamed response calls a tool', async (at) => {
  const tool = { type: 'function', strict: false, ...weatherTool.function };
  const response = await client.responses.stream({ model: at('sdk-tool'), input: 'Hi', store: false, tools: [tool] }).finalResponse();
  const call = response.output.find((item) => item.type === 'function_call');
  assert.equal(call.name, 'weather');
  assert.deepEqual(JSON.parse(call.arguments), { city: 'Oslo' });
});
