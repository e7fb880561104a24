// node's fetch against http_server: node node_client.js URL
const assert = require('assert/strict'), crypto = require('crypto');
const url = process.argv[2];
const text = async (target, more) => (await fetch(url + target, more)).text();
const port = async () => (await text('/page')).match(/address: \S+:(\d+)</)[1];
(async () => {
  assert.equal(await text('/plaintext'), 'Hello, World!');
  assert.deepEqual(await (await fetch(url + '/json')).json(), {message: 'Hello, World!'});
  const missing = await fetch(url + '/status/404');
  assert.deepEqual([missing.status, await missing.text()], [404, 'status 404\n']);
  assert.equal((await fetch(url + '/json', {method: 'HEAD'})).headers.get('content-length'),
               '27');
  assert.equal(await text('/echo', {method: 'POST', body: 'some text'}), 'some text');

  const ports = new Set();  // it takes another connection when it is quicker than the last end
  for (let i = 0; i < 20; ++i) await text('/stream/100'), ports.add(await port());
  assert(ports.size <= 3, ports.size);

  const big = crypto.randomBytes(5000000);
  const back = async body => Buffer.from(await (await fetch(url + '/echo', {
    method: 'POST', body, duplex: 'half'})).arrayBuffer());
  assert((await back(big)).equals(big));
  let at = 0;
  const stream = new ReadableStream({pull(to) {
    if (at === big.length) return to.close();
    to.enqueue(big.subarray(at, at += 50000));
  }});
  assert((await back(stream)).equals(big));

  const form = new FormData();
  form.append('a', 'text');
  form.append('f', new Blob([big]), 'b "c".bin');
  const [told] = await (await fetch(url + '/upload', {method: 'POST', body: form})).json();
  const sum = crypto.createHash('sha256').update(big).digest('hex');
  assert.deepEqual(told, {field: 'f', name: 'b "c".bin', size: big.length, sha256: sum});

  let size = 0;
  for await (const piece of (await fetch(url + '/bytes/5000000')).body) size += piece.length;
  assert.equal(size, 5000000);

  const leave = new AbortController();
  let events = '';
  for await (const piece of (await fetch(url + '/events', {signal: leave.signal})).body) {
    events += Buffer.from(piece);
    if (events.includes('event 2')) break;
  }
  leave.abort();
  assert.equal(events, 'id: 1\ndata: event 1\n\nid: 2\ndata: event 2\n\n');

  const many = await Promise.all(Array.from({length: 200}, (_, i) =>
    text('/echo', {method: 'POST', body: 'x'.repeat(i * 100)})));
  assert(many.every((each, i) => each.length === i * 100));
  process.exit(0);
})();
