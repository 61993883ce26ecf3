'use strict';

// Avro IPC on node: avsc on both ends, Netty framing (its default), one TCP connection or Unix socket.
//
// The same roles and lines as benchmarks/peer.py, and the same window as benchmarks/measure.py: a warm-up
// of a quarter, then the time that counts. `node avsc.js serve [tcp|unix]`, `node avsc.js drive ENDPOINT`.

const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const readline = require('readline');
const avro = require('avsc');

const PARTS = JSON.parse(fs.readFileSync(path.join(__dirname, '..', 'workload.json'), 'utf8'));
const SERVICE = avro.Service.forProtocol(JSON.parse(fs.readFileSync(path.join(__dirname, 'bench.avpr'), 'utf8')));
const WARM_UP = 0.25;

function say(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

function serve(variant) {
  const server = SERVICE.createServer().onExecute((request, done) => {
    done(null, {module: request.module, headers: request.headers, value: request.value});
  });
  const listener = net.createServer({noDelay: true}, (socket) => server.createChannel(socket));
  if (variant === 'unix') {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'avsc-'));
    process.on('exit', () => fs.rmSync(folder, {recursive: true}));
    listener.listen(path.join(folder, 'avsc.sock'), () => say({endpoint: listener.address()}));
  } else {
    listener.listen(0, '127.0.0.1', () => say({endpoint: `127.0.0.1:${listener.address().port}`}));
  }
  process.stdin.on('end', () => process.exit(0)).resume();
}

function dial(endpoint) {
  if (endpoint.startsWith('/')) return net.connect(endpoint);
  const [host, port] = endpoint.split(':');
  return net.connect({host, port: Number(port), noDelay: true});
}

function percentile(ordered, share) {
  return ordered[Math.min(ordered.length - 1, Math.floor(ordered.length * share))];
}

// One round: `order` as benchmarks/measure.py has it.
function round(endpoint, order, done) {
  const value = Buffer.alloc(PARTS.value[order.payload], 0).map((_, i) => (i * 37 + 128) & 0xff);
  const sockets = [], clients = [];
  let connected = 0, open = true, made = 0, samples = [], marks = [], pending = 0;

  function mark() {
    marks.push({at: process.hrtime.bigint(), made, sampled: samples.length});
  }

  function finish() {
    sockets.forEach((socket) => socket.destroy());
    const [first, last] = marks;
    const timed = samples.slice(first.sampled, last.sampled).sort((a, b) => a - b);
    done({
      calls: last.made - first.made, seconds: Number(last.at - first.at) / 1e9, made,
      p50: timed.length ? percentile(timed, 0.5) / 1e3 : null,
      p99: timed.length ? percentile(timed, 0.99) / 1e3 : null,
    });
  }

  function call(client, answered) {
    client.execute({module: PARTS.module, headers: PARTS.headers, value}, (error, answer) => {
      if (error) throw error;
      if (answer.value.length !== value.length) throw new Error(`the answer has ${answer.value.length} bytes`);
      answered();
    });
  }

  function again(client) {
    const start = order.clocked ? process.hrtime.bigint() : 0n;
    call(client, () => {
      if (order.clocked) samples.push(Number(process.hrtime.bigint() - start));
      made++;
      if (open) again(client);
      else if (--pending === 0) finish();
    });
  }

  for (let i = 0; i < order.connections; i++) {
    const socket = dial(endpoint);
    const client = SERVICE.createClient({transport: socket, buffering: true});
    sockets.push(socket);
    clients.push(client);
    call(client, () => { if (++connected === order.connections) begin(); });
  }

  function begin() {
    for (const client of clients) for (let j = 0; j < order.in_flight; j++, pending++) again(client);
    setTimeout(() => {
      mark();
      setTimeout(() => { mark(); open = false; }, order.seconds * 1000);
    }, order.seconds * WARM_UP * 1000);
  }
}

function drive(endpoint) {
  const lines = readline.createInterface({input: process.stdin});
  lines.on('line', (line) => round(endpoint, JSON.parse(line), say));
  lines.on('close', () => process.exit(0));
  say({ready: true});
}

const [role, ...rest] = process.argv.slice(2);
if (role === 'serve') serve(rest[0]);
else if (role === 'drive') drive(rest[0]);
else throw new Error(`unknown role ${role}: serve [tcp|unix] or drive ENDPOINT`);
