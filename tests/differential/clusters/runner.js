// Plays one script on Node's cluster: runner.py is its twin, action by action, and scripts.py says
// what a script is. This file is the program of the primary and of every worker.
'use strict';
const cluster = require('node:cluster');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');

const folder = process.env.CLUSTER_FOLDER;
const script = JSON.parse(fs.readFileSync(path.join(folder, 'script.json'), 'utf8'));
const own = cluster.isPrimary ? 'P' : `W${cluster.worker.id}`;
const trace = fs.openSync(path.join(folder, own), 'a');
const things = {};
const ports = {};
const counts = {};
const workers = {};

function note(thing, ...entry) {
  fs.writeSync(trace, JSON.stringify([thing, entry.map((each) => each ?? 'null').join(' ')]) + '\n');
}

function show(value) {
  if (value instanceof Error) {
    const text = value.message.replace(/:\d{4,5}\b/g, ':PORT').replaceAll(folder, 'FOLDER');
    return `${value.code ?? value.name} ${value.syscall ?? ''} ${text}`;
  }
  if (value === undefined || value === null) return 'none';
  if (value instanceof net.Socket) return 'a socket';
  if (value instanceof net.Server) return 'a server';
  if (typeof value === 'object' && 'addressType' in value) {
    const port = value.port > 0 ? 'a port' : value.port;
    const address = typeof value.address === 'string' ? path.basename(value.address) : 'none';
    return `${value.addressType} ${address} ${show(port)} ${show(value.fd)}`;
  }
  return JSON.stringify(value);
}

function seen(thing, event, key, ...values) {
  note(thing, event, ...values.map(show));
  act(key);
}

function act(key) {
  counts[key] = (counts[key] ?? 0) + 1;
  const mine = cluster.isPrimary ? script.primary : script[own] ?? script.worker ?? {};
  for (const action of mine[`${key} #${counts[key]}`] ?? []) perform(action);
  for (const action of mine[key] ?? []) perform(action);
}

function perform([name, ...args]) {
  if (name === 'raise now') throw new Error('on purpose');
  try {
    actions[name](...args);
  } catch (error) {
    note('-', 'raised', show(error).split(' ')[0]);
  }
}

function address(options) {
  const given = { ...options };
  if (typeof given.port === 'string') given.port = ports[given.port];
  if (given.path) given.path = path.join(folder, given.path);
  return given;
}

function ask(port, times, then) {
  const answers = [];
  const one = () => {
    const client = net.connect(port, '127.0.0.1');
    client.on('error', (error) => answers.push(error.code));
    client.on('data', (data) => answers.push(String(data)));
    client.on('close', () => {
      if (--times) return one();
      note('-', 'answers', answers.sort().join(' '));
      act(then);
    });
  };
  one();
}

const actions = {
  note: (text) => note('-', text),
  act: (key) => act(key),
  later: (key, ms) => setTimeout(() => act(key), ms),
  fork: (env) => {
    const worker = cluster.fork(env);
    workers[worker.id] = worker;
    const thing = `W${worker.id}`;
    for (const event of ['online', 'listening', 'message', 'disconnect', 'exit', 'error']) {
      worker.on(event, (...values) => {
        if (event === 'error') values.length = 1;
        seen(thing, event, `worker ${event}`, ...values);
      });
    }
  },
  setup: (settings) => cluster.setupPrimary(settings),
  policy: (name) => { cluster.schedulingPolicy = cluster[name]; },
  disconnect: (id) => (cluster.isPrimary ? workers[id] : cluster.worker).disconnect(),
  'disconnect all': (key) => cluster.disconnect(() => seen('-', 'all disconnected', key)),
  kill: (id, signal) => {
    if (cluster.isPrimary) workers[id].kill(signal);
    else cluster.worker.kill();
  },
  'kill process': (id, signal) => workers[id].process.kill(signal),
  send: (id, message) => (cluster.isPrimary ? workers[id] : cluster.worker).send(message),
  'send and note': (id, message) => {
    const worker = cluster.isPrimary ? workers[id] : cluster.worker;
    worker.send(message, (error) => seen('-', 'sent', 'sent', error));
  },
  'send undefined': (id) => (cluster.isPrimary ? workers[id] : cluster.worker).send(undefined),
  state: (id) => {
    const worker = cluster.isPrimary ? workers[id] : cluster.worker;
    note('-', 'state', worker.isConnected(), worker.isDead(),
      worker.exitedAfterDisconnect ?? 'none',
      cluster.isPrimary ? Object.keys(cluster.workers).join(',') : 'none');
  },
  what: () => note('-', 'what', cluster.isPrimary, cluster.isWorker, cluster.worker !== undefined,
    cluster.worker ? cluster.worker.id : 'none', cluster.workers !== undefined),
  settings: (name) => note('-', 'settings', JSON.stringify(cluster.settings[name])),
  env: (name) => note('-', 'env', process.env[name] ?? 'none'),
  arguments: () => note('-', 'arguments', process.argv.slice(2).join(' ')),
  listen: (name, options) => {
    const server = things[name] = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.end(`${name} of ${own}`);
      act(`${name} connection`);
    });
    for (const event of ['listening', 'close', 'error']) {
      server.on(event, (...values) => {
        if (event === 'listening' && typeof server.address() === 'object') {
          ports[name] = server.address().port;
        }
        seen(name, event, `${name} ${event}`, ...values);
      });
    }
    server.listen(address(options));
  },
  'listen again': (name, port) => things[name].listen(ports[port]),
  close: (name) => things[name].close(() => note(name, 'closed')),
  address: (name) => {
    const found = things[name].address();
    note('-', 'address', typeof found === 'string' ? path.basename(found) : found && found.family,
      things[name].listening);
  },
  'tell port': (name) => cluster.worker.send({ port: ports[name] }),
  remember: (name) => { things[name] = true; },
  ask: (times, then) => ask(ports.told, times, then),
  'ask path': (name, then) => {
    const client = net.connect(path.join(folder, name));
    client.on('error', (error) => note('-', 'answer', error.code));
    client.on('data', (data) => note('-', 'answer', String(data)));
    client.on('close', () => act(then));
  },
  exists: (name) => note('-', 'exists', fs.existsSync(path.join(folder, name))),
  hold: (name, then) => {
    // A port that is taken by somebody else.
    const server = things[name] = net.createServer().listen({ port: 0, exclusive: true }, () => {
      ports[name] = server.address().port;
      fs.writeFileSync(path.join(folder, 'port'), String(ports[name]));
      act(then);
    });
  },
  'know port': (name) => {
    ports[name] = Number(fs.readFileSync(path.join(folder, 'port'), 'utf8'));
  },
  'same port': (name) => {
    const file = path.join(folder, 'same');
    if (fs.existsSync(file)) {
      note('-', 'the same port', fs.readFileSync(file, 'utf8') === String(ports[name]));
    } else {
      fs.writeFileSync(file, String(ports[name]));
    }
  },
  'pass sockets': (id, message, then) => {
    const server = things.front = net.createServer({ pauseOnConnect: true }, (socket) => {
      note('-', 'passed', workers[id].send(message, socket));
    });
    server.listen({ port: 0, host: '127.0.0.1' }, () => {
      ports.told = server.address().port;
      act(then);
    });
  },
  'pass server': (id, message) => {
    const server = things.front = net.createServer().listen(0, '127.0.0.1', () => {
      ports.told = server.address().port;
      workers[id].send(message, server, () => server.close());
    });
  },
  attend: () => {
    cluster.worker.on('message', (message, handle) => {
      if (handle instanceof net.Socket) {
        handle.end(`passed to ${own}`);
      } else if (handle) {
        things.given = handle;
        handle.on('connection', (socket) => socket.end(`given to ${own}`));
        cluster.worker.send('attends');
      }
    });
  },
  exit: (code) => process.exit(code),
  raise: () => process.nextTick(() => { throw new Error('on purpose'); }),
  die: (signal) => process.kill(process.pid, signal),
};

setTimeout(() => {
  note('-', 'timed out');
  process.exit(9);
}, 8000).unref();

if (cluster.isPrimary) {
  const events = ['setup', 'fork', 'online', 'listening', 'message', 'disconnect', 'exit'];
  for (const event of events) {
    cluster.on(event, (worker, ...values) => {
      if (event === 'setup') return seen('-', 'setup', 'setup');
      if (event === 'listening' && values[0].port > 0) ports.told = values[0].port;
      if (event === 'message' && values[0] && values[0].port) ports.told = values[0].port;
      const thing = `W${worker.id}`;
      const shown = event === 'message' && values[0] && values[0].port ? ['a port'] : values;
      seen(thing, `cluster ${event}`, `${event} ${worker.id}`, ...shown);
      act(event);
    });
  }
} else {
  cluster.worker.on('message', (message, handle) => {
    seen('-', 'message', 'message', message, handle);
  });
  cluster.worker.on('disconnect', () => seen('-', 'disconnect', 'disconnect'));
  cluster.worker.on('error', (error) => seen('-', 'error', 'error', error));
  process.on('exit', (code) => note('-', 'exit', code));
}
act('start');
