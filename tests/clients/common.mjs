// What the tests of all SDKs share. What the models sdk-* answer is scripted in SdkScripts.java, on both wires.
import assert from 'node:assert/strict';
import { test } from 'node:test';

export const gateway = process.env.GATEWAY_URL;
if (!gateway) {
  throw new Error('GATEWAY_URL must be the address of a gateway, as in http://127.0.0.1:3001.');
}

// SdkScripts.java has it too
export const key = 'sk-of-the-caller';

export const image = 'iVBORw0KGgo=';
export const imageUrl = 'data:image/png;base64,' + image;

/** A test for a provider of each wire; it is given the provider's name, and what puts that before a model's. */
export function fromBoth(name, body) {
  for (const provider of ['openai', 'anthropic']) {
    // some streams here never end by themselves
    test(`${name}, from ${provider}`, { timeout: 10_000 }, () => body((model) => provider + '/' + model, provider));
  }
}

export async function all(stream) {
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
  }
  return chunks;
}

/** Returns the error that a promise is rejected with; it must be of this type. */
export async function errorOf(promise, type) {
  const error = await promise.then(() => assert.fail('no error was raised'), (e) => e);
  assert.ok(error instanceof type, `expected ${type.name}, got ${error.stack}`);
  return error;
}
