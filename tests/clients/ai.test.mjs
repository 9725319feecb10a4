// The AI SDK with its providers for both dialects, pointed at the gateway.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embed, generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { all, errorOf, fromBoth, gateway, image, imageUrl, key } from './common.mjs';

const openai = createOpenAICompatible({ name: 'llmchat', baseURL: gateway + '/v1', apiKey: key, includeUsage: true, supportsStructuredOutputs: true });
const anthropic = createAnthropic({ baseURL: gateway + '/v1', apiKey: key });

/** A test for each dialect, with a provider of each wire. */
function everyWay(name, body) {
  for (const [dialect, sdk] of [['openai-compatible', openai], ['anthropic', anthropic]]) {
    fromBoth(`${name}, with @ai-sdk/${dialect}`, (at, provider) => body((model) => sdk(at(model)), dialect, provider));
  }
}

function ask(model, more) {
  // the SDK would repeat failed requests by itself and hide what the gateway answered first
  return { model, prompt: 'Hi', maxRetries: 0, ...more };
}

/** The parts of a stream; what goes wrong is one of them. */
function parts(model, more) {
  return all(streamText(ask(model, { onError: () => {}, ...more })).fullStream);
}

function textOf(found) {
  return found.filter((part) => part.type === 'text-delta').map((part) => part.text).join('');
}

function weather(cities = []) {
  return {
    weather: tool({
      description: 'The weather in a city',
      inputSchema: z.object({ city: z.string() }),
      execute: ({ city }) => (cities.push(city), 'rain'),
    }),
  };
}

async function callError(promise) {
  const error = await errorOf(promise, Error);
  assert.ok(APICallError.isInstance(error), `expected an APICallError, got ${error.stack}`);
  return error;
}

everyWay('a text is generated, with its usage and finish reason', async (at) => {
  const { text, usage, finishReason } = await generateText(ask(at('sdk-text'), { system: 'Be brief' }));
  assert.equal(text, 'Hello there');
  assert.equal(finishReason, 'stop');
  assert.equal(usage.inputTokens, 3);
  assert.equal(usage.outputTokens, 2);
});

everyWay('a text is streamed, with its usage and finish reason', async (at) => {
  const found = await parts(at('sdk-text'));
  assert.equal(textOf(found), 'Hello there');
  assert.equal(found.filter((part) => part.type === 'text-delta' && part.text).length, 2);
  assert.equal(found.at(-1).type, 'finish');
  assert.equal(found.at(-1).finishReason, 'stop');
  assert.equal(found.at(-1).totalUsage.inputTokens, 3);
  assert.equal(found.at(-1).totalUsage.outputTokens, 2);
});

everyWay('thoughts are told apart from the text', async (at) => {
  const whole = await generateText(ask(at('sdk-thinking')));
  assert.equal(whole.reasoningText, 'Hm');
  assert.equal(whole.text, 'Yes');
  const found = await parts(at('sdk-thinking'));
  assert.equal(found.filter((part) => part.type === 'reasoning-delta').map((part) => part.text).join(''), 'Hm');
  assert.equal(textOf(found), 'Yes');
});

everyWay('a tool is run, and its result is taken', async (at) => {
  const cities = [];
  const { text, steps } = await generateText(ask(at('sdk-tool'), { tools: weather(cities), stopWhen: stepCountIs(3) }));
  assert.deepEqual(cities, ['Oslo']);
  assert.equal(steps[0].finishReason, 'tool-calls');
  assert.equal(text, 'call-1: rain');
});

everyWay('the arguments of a tool are streamed in pieces', async (at) => {
  const cities = [];
  const found = await parts(at('sdk-tool'), { tools: weather(cities), stopWhen: stepCountIs(3) });
  const pieces = found.filter((part) => part.type === 'tool-input-delta').map((part) => part.delta).filter((piece) => piece);
  assert.deepEqual(pieces, ['{"city":', '"Oslo"}']);
  assert.deepEqual(found.find((part) => part.type === 'tool-call').input, { city: 'Oslo' });
  assert.deepEqual(cities, ['Oslo']);
  assert.equal(textOf(found), 'call-1: rain');
});

everyWay('two tools are called in one stream, after some words', async (at) => {
  const found = await parts(at('sdk-two-tools'), { tools: weather() });
  assert.equal(textOf(found), 'Let me look');
  assert.deepEqual(found.filter((part) => part.type === 'tool-call').map((part) => [part.toolCallId, part.input.city]),
    [['call-1', 'Oslo'], ['call-2', 'Rome']]);
});

everyWay('an image reaches the provider as it was sent', async (at) => {
  const { text } = await generateText({
    model: at('sdk-image'),
    maxRetries: 0,
    messages: [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, { type: 'image', image, mediaType: 'image/png' }] }],
  });
  assert.equal(text, imageUrl);
});

everyWay('an answer has the form that was asked for', async (at) => {
  const { output } = await generateText(ask(at('sdk-json'), {
    output: Output.object({ schema: z.object({ city: z.string() }) }),
    // models that it does not know by name are otherwise given a tool for it
    providerOptions: { anthropic: { structuredOutputMode: 'outputFormat' } },
  }));
  assert.deepEqual(output, { city: 'Oslo' });
});

test('a text becomes an embedding', async () => {
  const { embedding, usage } = await embed({ model: openai.textEmbeddingModel('openai/sdk-embedding'), value: 'One', maxRetries: 0 });
  assert.deepEqual(embedding, [0.5, -0.25]);
  assert.equal(usage.tokens, 3);
});

test('a wrong key is an error of status 401', async () => {
  const settings = { name: 'llmchat', baseURL: gateway + '/v1', apiKey: 'wrong' };
  for (const sdk of [createOpenAICompatible(settings), createAnthropic(settings)]) {
    const error = await callError(generateText(ask(sdk('openai/sdk-text'))));
    assert.equal(error.statusCode, 401);
    assert.equal(error.isRetryable, false);
  }
});

for (const [dialect, sdk] of [['openai-compatible', openai], ['anthropic', anthropic]]) {
  test(`an unknown model is an error of status 404, with @ai-sdk/${dialect}`, async () => {
    const error = await callError(generateText(ask(sdk('sdk-nobody'))));
    assert.equal(error.statusCode, 404);
    assert.equal(error.isRetryable, false);
    assert.match(error.message, /sdk-nobody/);
  });
}

everyWay('a request that the provider refuses is an error in its words', async (at) => {
  const error = await callError(generateText(ask(at('sdk-refused'))));
  assert.equal(error.statusCode, 400);
  assert.equal(error.isRetryable, false);
  assert.match(error.message, /the provider says 400/);
});

everyWay('a provider that limits us is an error to repeat, with the time to wait', async (at) => {
  const error = await callError(generateText(ask(at('sdk-limited'))));
  assert.equal(error.statusCode, 429);
  assert.equal(error.isRetryable, true);
  assert.match(error.responseHeaders['retry-after'], /^[1-7]$/);
});

everyWay('a provider that fails is an error to repeat', async (at) => {
  const error = await callError(generateText(ask(at('sdk-failing'))));
  assert.equal(error.statusCode, 502);
  assert.equal(error.isRetryable, true);
});

everyWay('a provider that is cut off in a stream is an error after what it said', async (at) => {
  const found = await parts(at('sdk-cut'));
  assert.equal(textOf(found), 'Half an');
  assert.equal(found.filter((part) => part.type === 'error').length, 1);
  assert.equal(found.at(-1).finishReason, 'error');
});

// the provider says nothing more here, so only the caller can end these streams
everyWay('an aborted stream ends at once', async (at) => {
  const abort = new AbortController();
  const found = [];
  for await (const part of streamText(ask(at('sdk-aborted'), { abortSignal: abort.signal })).fullStream) {
    found.push(part);
    if (part.type === 'text-delta' && part.text) {
      abort.abort();
    }
  }
  assert.equal(textOf(found), 'One');
  assert.equal(found.at(-1).type, 'abort');
});
