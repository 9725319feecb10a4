// 1000 concurrent users, up and down again in 14 minutes, as the tuning guide has it:
//   k6 run -e GATEWAY_URL=http://127.0.0.1:3001 tests/load/k6-stress-test.js
// Without MODEL the built-in demo answers, so that it is the gateway that is measured. RATE_LIMIT_MAX_REQUESTS and
// RATE_LIMIT_POINTS of the gateway must be 0: all users come from one address.
import http from 'k6/http';
import { check, sleep } from 'k6';
import { Rate, Trend } from 'k6/metrics';

const url = __ENV.GATEWAY_URL || 'http://127.0.0.1:3001';
const model = __ENV.MODEL || 'demo';
const headers = { 'Content-Type': 'application/json' };
if (__ENV.API_KEY) {
  headers.Authorization = `Bearer ${__ENV.API_KEY}`;
}

const failures = new Rate('chat_failures');
const firstByte = new Trend('chat_first_byte', true);

export const options = {
  stages: [
    { duration: '1m', target: 100 },
    { duration: '2m', target: 300 },
    { duration: '3m', target: 600 },
    { duration: '3m', target: 1000 },
    { duration: '2m', target: 600 },
    { duration: '2m', target: 300 },
    { duration: '1m', target: 0 },
  ],
  thresholds: {
    // of answers that are not streamed and of first bytes of streams: how long a stream lasts is its model's affair
    'http_req_duration{kind:whole}': ['p(95)<1000', 'p(99)<2000'],
    chat_first_byte: ['p(95)<1000', 'p(99)<2000'],
    http_req_failed: ['rate<0.02'],
    chat_failures: ['rate<0.02'],
  },
};

function ask(stream) {
  const body = JSON.stringify({ model, stream, messages: [{ role: 'user', content: `Hello from user ${__VU}` }] });
  return http.post(`${url}/v1/chat/completions`, body, { headers, tags: { kind: stream ? 'stream' : 'whole' }, timeout: '60s' });
}

export default function () {
  const whole = ask(false);
  failures.add(!check(whole, {
    'whole: 200': (r) => r.status === 200,
    'whole: has text': (r) => r.status === 200 && r.json('choices.0.message.content').length > 0,
  }));

  const stream = ask(true);
  firstByte.add(stream.timings.waiting);
  failures.add(!check(stream, {
    'stream: 200': (r) => r.status === 200,
    'stream: comes to its end': (r) => r.status === 200 && r.body.trimEnd().endsWith('data: [DONE]'),
  }));

  sleep(1);
}
