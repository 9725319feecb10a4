// LangChain's package for OpenAI, pointed at the gateway.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { z } from 'zod';
import { all, errorOf, fromBoth, gateway, imageUrl, key } from './common.mjs';

// it would repeat failed requests by itself and hide what the gateway answered first
const settings = { apiKey: key, maxRetries: 0, configuration: { baseURL: gateway + '/v1' } };

function model(name, more) {
  return new ChatOpenAI({ ...settings, model: name, ...more });
}

const weather = tool(({ city }) => `rain in ${city}`, {
  name: 'weather',
  description: 'The weather in a city',
  schema: z.object({ city: z.string() }),
});

function textOf(chunks) {
  return chunks.map((chunk) => chunk.text).join('');
}

fromBoth('an answer has its text, usage and finish reason', async (at) => {
  const message = await model(at('sdk-text')).invoke([['system', 'Be brief'], ['user', 'Hi']]);
  assert.equal(message.text, 'Hello there');
  assert.equal(message.response_metadata.finish_reason, 'stop');
  assert.equal(message.usage_metadata.input_tokens, 3);
  assert.equal(message.usage_metadata.output_tokens, 2);
});

fromBoth('a stream brings the text in pieces, and the usage', async (at) => {
  const chunks = await all(await model(at('sdk-text')).stream('Hi'));
  assert.deepEqual(chunks.map((chunk) => chunk.text).filter((text) => text), ['Hello', ' there']);
  const whole = chunks.reduce((sum, chunk) => sum.concat(chunk));
  assert.equal(whole.usage_metadata.input_tokens, 3);
  assert.equal(whole.usage_metadata.output_tokens, 2);
  assert.equal(whole.response_metadata.finish_reason, 'stop');
});

fromBoth('a tool is called, and its result is taken', async (at) => {
  const bound = model(at('sdk-tool')).bindTools([weather]);
  const asked = await bound.invoke('Hi');
  assert.deepEqual(asked.tool_calls.map(({ id, name, args }) => ({ id, name, args })),
    [{ id: 'call-1', name: 'weather', args: { city: 'Oslo' } }]);
  const result = await weather.invoke(asked.tool_calls[0]);
  assert.ok(result instanceof ToolMessage);
  assert.equal((await bound.invoke([new HumanMessage('Hi'), asked, result])).text, 'call-1: rain in Oslo');
});

fromBoth('the arguments of a tool are streamed in pieces', async (at) => {
  const chunks = await all(await model(at('sdk-tool')).bindTools([weather]).stream('Hi'));
  const pieces = chunks.flatMap((chunk) => chunk.tool_call_chunks).map((chunk) => chunk.args).filter((piece) => piece);
  assert.deepEqual(pieces, ['{"city":', '"Oslo"}']);
  assert.deepEqual(chunks.reduce((sum, chunk) => sum.concat(chunk)).tool_calls[0].args, { city: 'Oslo' });
});

fromBoth('two tools are called in one stream, after some words', async (at) => {
  const chunks = await all(await model(at('sdk-two-tools')).bindTools([weather]).stream('Hi'));
  assert.equal(textOf(chunks), 'Let me look');
  assert.deepEqual(chunks.reduce((sum, chunk) => sum.concat(chunk)).tool_calls.map(({ id, args }) => [id, args.city]),
    [['call-1', 'Oslo'], ['call-2', 'Rome']]);
});

fromBoth('an image reaches the provider as it was sent', async (at) => {
  const content = [{ type: 'text', text: 'What is this?' }, { type: 'image_url', image_url: { url: imageUrl } }];
  assert.equal((await model(at('sdk-image')).invoke([new HumanMessage({ content })])).text, imageUrl);
});

fromBoth('an answer has the form that was asked for', async (at) => {
  const formed = model(at('sdk-json')).withStructuredOutput(z.object({ city: z.string() }), { method: 'jsonSchema' });
  assert.deepEqual(await formed.invoke('Hi'), { city: 'Oslo' });
});

test('texts become embeddings', async () => {
  const embeddings = new OpenAIEmbeddings({ ...settings, model: 'openai/sdk-embedding' });
  assert.deepEqual((await embeddings.embedDocuments(['One', 'Two'])).map((one) => Array.from(one)), [[0.5, -0.25], [0.5, -0.25]]);
});

test('a wrong key is an AuthenticationError', async () => {
  const error = await errorOf(model('openai/sdk-text', { apiKey: 'wrong' }).invoke('Hi'), Error);
  assert.equal(error.constructor.name, 'AuthenticationError');
  assert.equal(error.lc_error_code, 'MODEL_AUTHENTICATION');
});

test('an unknown model is a NotFoundError', async () => {
  const error = await errorOf(model('sdk-nobody').invoke('Hi'), Error);
  assert.equal(error.constructor.name, 'NotFoundError');
  assert.equal(error.status, 404);
  assert.equal(error.lc_error_code, 'MODEL_NOT_FOUND');
});

fromBoth('a request that the provider refuses is a BadRequestError in its words', async (at) => {
  const error = await errorOf(model(at('sdk-refused')).invoke('Hi'), Error);
  assert.equal(error.constructor.name, 'BadRequestError');
  assert.equal(error.status, 400);
  assert.match(error.message, /the provider says 400/);
});

fromBoth('a provider that limits us is a RateLimitError', async (at) => {
  const error = await errorOf(model(at('sdk-limited')).stream('Hi').then(all), Error);
  assert.equal(error.constructor.name, 'RateLimitError');
  assert.equal(error.lc_error_code, 'MODEL_RATE_LIMIT');
});

fromBoth('a provider that fails is an InternalServerError', async (at) => {
  const error = await errorOf(model(at('sdk-failing')).invoke('Hi'), Error);
  assert.equal(error.constructor.name, 'InternalServerError');
  assert.equal(error.status, 502);
});

fromBoth('a provider that is cut off in a stream is an APIError after what it said', async (at) => {
  const chunks = [];
  const error = await errorOf((async () => {
    for await (const chunk of await model(at('sdk-cut')).stream('Hi')) {
      chunks.push(chunk);
    }
  })(), Error);
  assert.equal(textOf(chunks), 'Half an');
  assert.equal(error.constructor.name, 'APIError');
});

// the provider says nothing more here, so only the caller can end these streams
fromBoth('an aborted stream ends at once', async (at) => {
  const abort = new AbortController();
  const chunks = [];
  const error = await errorOf((async () => {
    for await (const chunk of await model(at('sdk-aborted')).stream('Hi', { signal: abort.signal })) {
      chunks.push(chunk);
      if (chunk.text) {
        abort.abort();
      }
    }
  })(), Error);
  assert.equal(textOf(chunks), 'One');
  assert.equal(error.name, 'AbortError');
});

fromBoth('a loop that is left early ends its stream', async (at) => {
  for await (const chunk of await model(at('sdk-left')).stream('Hi')) {
    if (chunk.text) {
      assert.equal(chunk.text, 'One');
      break;
    }
  }
});
