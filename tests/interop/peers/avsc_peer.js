// avsc as client and as server, told what to do by JSON lines (see peer.py).
'use strict';

const avro = require('avsc');
const {Adapter} = require('avsc/lib/services');
const fs = require('fs');
const http = require('http');
const https = require('https');
const net = require('net');
const readline = require('readline');
const tls = require('tls');

const clients = [];
const servers = [];

function say(object) {
  process.stdout.write(JSON.stringify(pack(object)) + '\n');
}

function pack(value) {
  if (Buffer.isBuffer(value)) return {$bytes: value.toString('base64')};
  if (Array.isArray(value)) return value.map(pack);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.keys(value).map((key) => [key, pack(value[key])]));
  }
  return value === undefined ? null : value;
}

function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (value !== null && typeof value === 'object') {
    if (typeof value.$bytes === 'string') return Buffer.from(value.$bytes, 'base64');
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unpack(each)]));
  }
  return value;
}

function service(path) {
  return avro.Service.forProtocol(JSON.parse(fs.readFileSync(path, 'utf8')));
}

// What avsc calls a transport: a stream, or a function that gives one for each call.
function transport({transport, host, port, path, resource, ca}) {
  const where = path ? {path} : {host, port};
  const trusted = ca ? {ca: fs.readFileSync(ca), servername: 'localhost'} : {};
  if (transport === 'tls') return tls.connect({host, port, ...trusted});
  if (transport === 'tls-function') { // avsc ends each stream after its request: that is a half-close, as far as TLS goes
    return (cb) => tls.connect({host, port, ...trusted}, function () { cb(null, this); }).on('error', cb);
  }
  if (transport === 'netty') return net.connect(where);
  if (transport === 'function') {
    return (cb) => net.connect(where, function () { cb(null, this); }).on('error', cb);
  }
  if (transport === 'http' || transport === 'https') {
    const library = transport === 'http' ? http : https;
    return (cb) => library.request({host, port, ...trusted, path: resource || '/', method: 'POST', agent: false,
      headers: {'Content-Type': 'avro/binary'}}).on('response', (res) => {
      if (res.statusCode !== 200) cb(new Error(`status ${res.statusCode}`));
      else cb(null, res);
    }).on('error', cb);
  }
  throw new Error(`no transport ${transport}`);
}

function open(command, done) {
  const svc = service(command.protocol);
  const options = {noPing: command.noPing};
  const cache = {};
  if (command.server) { // what an earlier connection would have learned
    options.serverHash = command.server.hash;
    cache[options.serverHash] = new Adapter(svc, service(command.server.protocol), options.serverHash, true);
  }
  const client = svc.createClient({timeout: 15000, cache});
  const made = transport(command);
  const channel = client.createChannel(made, options);
  const opened = {client, channel, socket: made, handshakes: []};
  channel.on('handshake', (hreq, hres) => opened.handshakes.push(hres.match));
  channel.on('outgoingCall', (ctx, opts) => { ctx.locals.metadata = (opts && opts.metadata) || {}; });
  channel.on('eot', (pending, err) => { opened.ended = err ? String(err.cause || err) : ''; });
  client.use(function (wreq, wres, next) {
    Object.assign(wreq.headers, this.locals.metadata);
    this.locals.answer = wres && wres.headers;
    next();
  });
  clients.push(opened);
  done({ok: clients.length - 1});
}

function outcome(ctx, err, value) {
  const metadata = Object.assign({}, ctx.locals.answer);
  if (!err) return {value, metadata};
  if (err instanceof Error && !err.constructor.type) return {system: String(err.message), metadata};
  if (ctx.message.errorType.typeName !== 'union:wrapped') {
    return {declared: {name: err.constructor.type.name, fields: err}, metadata};
  }
  const name = Object.keys(err)[0];
  return {declared: {name, fields: err[name]}, metadata};
}

function call({client}, {message, params, metadata}, done) {
  client.emitMessage(message, params, {metadata}, function (err, value) { done(outcome(this, err, value)); });
}

function burst(opened, {message, list}, done) {
  const answers = [];
  let left = list.length;
  list.forEach((params, i) => call(opened, {message, params}, (answer) => {
    answers[i] = answer;
    if (!--left) done({answers});
  }));
}

function serve(command, done) {
  const svc = service(command.protocol);
  const server = svc.createServer({silent: true});
  server.use(function (wreq, wres, next) { // no handler sees headers
    if (this.message.name === 'seen') {
      wres.response = wreq.headers;
      wres.headers.answered = Buffer.from('yes');
    }
    next();
  });
  const handlers = {
    reserve: (req, cb) => {
      const item = req.item;
      if (item.count === 13) return cb({'com.acme.Refused': {reason: 'thirteen'}});
      if (item.count > 10) return cb({'com.acme.OutOfStock': {sku: item.sku, left: 10}});
      item.labels.push('reserved');
      if (item.sku === 'B2') item.note = 'second shelf';
      return cb(null, item);
    },
    add: (req, cb) => cb(null, req.a + req.b),
    blob: (req, cb) => cb(null, req.data),
    fail: (req, cb) => cb(new Error(req.how)),
    seen: (req, cb) => cb(null, {}),
    tell: (req) => say({event: 'told', text: req.text}),
    forecast: (req, cb) => cb(null, `rain in ${req.place}`),
  };
  svc.messages.forEach((message) => server.onMessage(message.name, handlers[message.name]));
  let listening;
  if (command.transport === 'http') {
    listening = http.createServer((req, res) => {
      res.setHeader('Content-Type', 'avro/binary');
      server.createChannel((cb) => { cb(null, res); return req; });
    });
  } else if (command.transport === 'function') {
    listening = net.createServer({allowHalfOpen: true}, (con) => {
      con.on('error', () => {});
      server.createChannel((cb) => { cb(null, con); return con; });
    });
  } else {
    listening = net.createServer((con) => {
      con.on('error', () => {});
      server.createChannel(con);
    });
  }
  listening.on('error', (err) => done({broken: String(err)}));
  const ready = () => {
    servers.push(listening);
    done({ok: servers.length - 1, port: command.path ? 0 : listening.address().port});
  };
  if (command.path) listening.listen(command.path, ready);
  else listening.listen(0, '127.0.0.1', ready);
}

const commands = {
  open,
  serve,
  stop: (command, done) => { servers[command.on].close(); done({ok: true}); },
  call: (command, done) => call(clients[command.on], command, done),
  burst: (command, done) => burst(clients[command.on], command, done),
  ping: (command, done) => clients[command.on].channel.ping((err) => done(err ? {system: String(err)} : {value: null})),
  handshakes: (command, done) => done({value: clients[command.on].handshakes}),
  discover: (command, done) => {
    avro.discoverProtocol(transport(command), {timeout: 15000}, (err, protocol) => {
      done(err ? {system: String(err)} : {value: protocol});
    });
  },
  close: (command, done) => {
    const opened = clients[command.on];
    opened.channel.destroy();
    if (opened.socket.end) opened.socket.end();
    done({ok: true});
  },
};

process.on('uncaughtException', (err) => console.error(err.stack)); // the command that waits for it is late

readline.createInterface({input: process.stdin}).on('line', (line) => {
  const command = unpack(JSON.parse(line));
  const done = (answer) => say(Object.assign({id: command.id}, answer));
  try {
    commands[command.do](command, done);
  } catch (err) {
    done({broken: err.stack});
  }
}).on('close', () => process.exit(0));
