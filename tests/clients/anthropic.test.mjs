// The official Anthropic SDK as it is, pointed at the gateway.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { all, errorOf, fromBoth, gateway, image, imageUrl, key } from './common.mjs';

// the SDK would repeat failed requests by itself and hide what the gateway answered first
const client = new Anthropic({ baseURL: gateway, apiKey: key, maxRetries: 0 });

const weatherTool = {
  name: 'weather',
  description: 'The weather in a city',
  input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

function chat(model, more = {}) {
  return { model, max_tokens: 100, messages: [{ role: 'user', content: 'Hi' }], ...more };
}

function create(model, more) {
  return client.messages.create(chat(model, more));
}

function textOf(events) {
  return events.map((event) => (event.type === 'content_block_delta' && event.delta.text) || '').join('');
}

fromBoth('a message has its text, usage and reason to stop', async (at) => {
  const message = await create(at('sdk-text'));
  assert.match(message.id, /^msg_/);
  assert.equal(message.type, 'message');
  assert.equal(message.role, 'assistant');
  assert.deepEqual(message.content, [{ type: 'text', text: 'Hello there' }]);
  assert.equal(message.stop_reason, 'end_turn');
  assert.equal(message.usage.input_tokens, 3);
  assert.equal(message.usage.output_tokens, 2);
});

fromBoth('a message carries the id of its request', async (at) => {
  const { data, request_id: id, response } = await create(at('sdk-text')).withResponse();
  assert.ok(id);
  assert.equal(response.headers.get('x-request-id'), id);
  assert.equal(data._request_id, id);
});

fromBoth('a stream brings its events in order', async (at) => {
  const events = (await all(await create(at('sdk-text'), { stream: true }))).filter((event) => event.type !== 'ping');
  assert.deepEqual(events.map((event) => event.type), ['message_start', 'content_block_start', 'content_block_delta',
    'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop']);
  assert.equal(textOf(events), 'Hello there');
  assert.equal(events.at(-2).delta.stop_reason, 'end_turn');
});

fromBoth('the stream helper puts a message together', async (at) => {
  const texts = [];
  const message = await client.messages.stream(chat(at('sdk-text'))).on('text', (text) => texts.push(text)).finalMessage();
  assert.deepEqual(texts, ['Hello', ' there']);
  assert.equal(message.content[0].text, 'Hello there');
  assert.equal(message.stop_reason, 'end_turn');
  assert.equal(message.usage.input_tokens, 3);
  assert.equal(message.usage.output_tokens, 2);
});

fromBoth('text outside ASCII arrives whole, even if a network chunk splits a character', async (at) => {
  assert.equal(textOf(await all(await create(at('sdk-split'), { stream: true }))), 'Grüße 你好 🌍');
});

fromBoth('thoughts stand in a block of their own before the text', async (at) => {
  for (const message of [await create(at('sdk-thinking')), await client.messages.stream(chat(at('sdk-thinking'))).finalMessage()]) {
    assert.deepEqual(message.content.map((block) => block.type), ['thinking', 'text']);
    assert.equal(message.content[0].thinking, 'Hm');
    assert.equal(message.content[1].text, 'Yes');
  }
});

fromBoth('a tool is called, and its result is taken', async (at) => {
  const asked = await create(at('sdk-tool'), { tools: [weatherTool] });
  assert.equal(asked.stop_reason, 'tool_use');
  assert.deepEqual(asked.content.map(({ type, id, name, input }) => ({ type, id, name, input })),
    [{ type: 'tool_use', id: 'call-1', name: 'weather', input: { city: 'Oslo' } }]);

  const result = { type: 'tool_result', tool_use_id: asked.content[0].id, content: [{ type: 'text', text: 'rain' }] };
  const answered = await create(at('sdk-tool'), {
    tools: [weatherTool],
    messages: [{ role: 'user', content: 'Hi' }, { role: 'assistant', content: asked.content }, { role: 'user', content: [result] }],
  });
  assert.equal(answered.content[0].text, 'call-1: rain');
});

fromBoth('the arguments of a tool are streamed in pieces', async (at) => {
  const stream = client.messages.stream(chat(at('sdk-tool'), { tools: [weatherTool] }));
  const pieces = [];
  stream.on('inputJson', (piece) => pieces.push(piece));
  const message = await stream.finalMessage();
  assert.deepEqual(pieces.filter((piece) => piece), ['{"city":', '"Oslo"}']);
  assert.deepEqual(message.content[0].input, { city: 'Oslo' });
  assert.equal(message.stop_reason, 'tool_use');
});

fromBoth('two tools are called in one stream, after some words', async (at) => {
  const message = await client.messages.stream(chat(at('sdk-two-tools'), { tools: [weatherTool] })).finalMessage();
  assert.equal(message.content[0].text, 'Let me look');
  assert.deepEqual(message.content.slice(1).map((block) => [block.type, block.id, block.name, block.input]),
    [['tool_use', 'call-1', 'weather', { city: 'Oslo' }], ['tool_use', 'call-2', 'weather', { city: 'Rome' }]]);
});

fromBoth('the tool runner asks, runs the tool, and asks again', async (at) => {
  const cities = [];
  const message = await client.beta.messages.toolRunner(chat(at('sdk-tool'), {
    tools: [{ ...weatherTool, type: 'custom', parse: (input) => input, run: ({ city }) => (cities.push(city), 'rain') }],
  }));
  assert.deepEqual(cities, ['Oslo']);
  assert.equal(message.content[0].text, 'call-1: rain');
});

fromBoth('an image reaches the provider as it was sent', async (at) => {
  for (const [source, url] of [
    [{ type: 'base64', media_type: 'image/png', data: image }, imageUrl],
    [{ type: 'url', url: 'https://example.com/a.png' }, 'https://example.com/a.png'],
  ]) {
    const message = await create(at('sdk-image'), {
      messages: [{ role: 'user', content: [{ type: 'image', source }, { type: 'text', text: 'What is this?' }] }],
    });
    assert.equal(message.content[0].text, url);
  }
});

fromBoth('an answer has the form that was asked for', async (at) => {
  const format = { type: 'json_schema', schema: { ...weatherTool.input_schema, additionalProperties: false }, parse: JSON.parse };
  const message = await client.messages.parse(chat(at('sdk-json'), { output_config: { format } }));
  assert.deepEqual(message.parsed_output, { city: 'Oslo' });
});

fromBoth('the system may speak at the start and in between', async (at) => {
  const message = await create(at('sdk-roles'), {
    system: [{ type: 'text', text: 'Be brief', cache_control: { type: 'ephemeral' } }],
    messages: [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello' },
      { role: 'system', content: 'Be briefer' },
      { role: 'user', content: 'And now?' },
    ],
  });
  assert.equal(message.content[0].text, 'system user assistant system user');
});

test('the tokens of a message are counted', async () => {
  const { max_tokens: _, ...message } = chat('anthropic/sdk-counted', { system: 'Be brief', tools: [weatherTool] });
  assert.deepEqual(await client.messages.countTokens(message), { input_tokens: 14 });
});

test('a provider that counts no tokens is a BadRequestError', async () => {
  const { max_tokens: _, ...message } = chat('openai/sdk-text');
  const error = await errorOf(client.messages.countTokens(message), Anthropic.BadRequestError);
  assert.equal(error.type, 'invalid_request_error');
});

test('a key may come as a token', async () => {
  const bearer = new Anthropic({ baseURL: gateway, apiKey: null, authToken: key, maxRetries: 0 });
  assert.equal((await bearer.messages.create(chat('anthropic/sdk-text'))).content[0].text, 'Hello there');
});

test('a wrong key is an AuthenticationError', async () => {
  const stranger = new Anthropic({ baseURL: gateway, apiKey: 'wrong', maxRetries: 0 });
  const error = await errorOf(stranger.messages.create(chat('anthropic/sdk-text')), Anthropic.AuthenticationError);
  assert.equal(error.type, 'authentication_error');
});

test('an unknown model is a NotFoundError', async () => {
  for (const stream of [false, true]) {
    const error = await errorOf(create('sdk-nobody', { stream }), Anthropic.NotFoundError);
    assert.equal(error.status, 404);
    assert.equal(error.type, 'not_found_error');
    assert.match(error.message, /sdk-nobody/);
    assert.ok(error.requestID);
    assert.equal(error.error.request_id, error.requestID);
  }
});

fromBoth('a request without messages is a BadRequestError that names them', async (at) => {
  const error = await errorOf(create(at('sdk-text'), { messages: [] }), Anthropic.BadRequestError);
  assert.equal(error.type, 'invalid_request_error');
  assert.match(error.message, /messages/);
});

fromBoth('a request that the provider refuses is a BadRequestError in its words', async (at) => {
  const error = await errorOf(create(at('sdk-refused')), Anthropic.BadRequestError);
  assert.equal(error.type, 'invalid_request_error');
  assert.match(error.message, /the provider says 400/);
});

fromBoth('a provider that limits us is a RateLimitError with the time to wait', async (at) => {
  for (const stream of [false, true]) {
    const error = await errorOf(create(at('sdk-limited'), { stream }), Anthropic.RateLimitError);
    assert.equal(error.type, 'rate_limit_error');
    assert.match(error.headers.get('retry-after'), /^[1-7]$/);
  }
});

fromBoth('a provider that fails is an InternalServerError', async (at) => {
  const error = await errorOf(create(at('sdk-failing')), Anthropic.InternalServerError);
  assert.equal(error.status, 502);
  assert.equal(error.type, 'api_error');
});

fromBoth('a provider that hangs up is an InternalServerError', async (at) => {
  const error = await errorOf(create(at('sdk-hanging-up'), { stream: true }), Anthropic.InternalServerError);
  assert.equal(error.status, 502);
  assert.equal(error.type, 'api_error');
});

fromBoth('a provider that is cut off in a stream is an APIError after what it said', async (at) => {
  const events = [];
  const reading = (async () => {
    for await (const event of await create(at('sdk-cut'), { stream: true })) {
      events.push(event);
    }
  })();
  const error = await errorOf(reading, Anthropic.APIError);
  assert.equal(textOf(events), 'Half an');
  assert.equal(error.type, 'api_error');
});

// the provider says nothing more here, so only the caller can end these streams
fromBoth('an aborted stream ends at once', async (at) => {
  const stream = client.messages.stream(chat(at('sdk-aborted')));
  stream.on('text', () => stream.abort());
  await errorOf(stream.finalMessage(), Anthropic.APIUserAbortError);
  assert.ok(stream.aborted);
});

fromBoth('a loop that is left early ends its stream', async (at) => {
  for await (const event of await create(at('sdk-left'), { stream: true })) {
    if (event.type === 'content_block_delta') {
      assert.equal(event.delta.text, 'One');
      break;
    }
  }
});
