// Plays a scenario (JSON on stdin, see scenarios.py) on Node's net; prints the trace as JSON.
'use strict';
const net = require('net');
const fs = require('fs');

const scenario = JSON.parse(fs.readFileSync(0, 'utf8'));
const objects = {};
const ports = {};
const controller = new AbortController();
const trace = [];
let accepted = 0;
const EVENTS = ['listening', 'lookup', 'connectionAttempt', 'connectionAttemptFailed', 'connect',
                'ready', 'data', 'end', 'finish', 'drain', 'timeout', 'error', 'close', 'pause',
                'resume', 'drop'];
const camel = (name) => name.replace(/_(\w)/g, (_, c) => c.toUpperCase());
const convert = (options) =>
  Object.fromEntries(Object.entries(options).map(([k, v]) => [camel(k), v]));

function show(value) {
  if (value === undefined || value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (value instanceof Error) {
    return `${value.code || value.message}${value.syscall ? '/' + value.syscall : ''}`;
  }
  if (Buffer.isBuffer(value)) return value.toString('latin1');
  for (const [name, port] of Object.entries(ports)) {
    if (value === port) return `port(${name})`;
  }
  if (typeof value === 'object') return 'object';
  return String(value);
}

function note(name, entry) { trace.push([name, entry]); }

function argument(name, value) {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    if (value.cb) {
      return (...args) => {
        note(name, ['cb ' + value.cb, ...args.filter((a) => a != null).map(show)].join(' '));
        run(name, value.then || []);
      };
    }
    if (value.error) return new Error(value.error);
    if (value.repeat) return Buffer.alloc(value.repeat[1], value.repeat[0]);
    if (value.options) return convert(value.options);
    if (value.port) return ports[value.port];
  }
  // Python's str is encoded in write(); a Buffer keeps Node's counts in bytes too.
  if (typeof value === 'string') return Buffer.from(value);
  return value;
}

function watch(name, object) {
  objects[name] = object;
  const counts = {};
  const silent = (scenario.silent || {})[name] || [];
  for (const event of EVENTS) {
    if (silent.includes(event)) continue;
    object.on(event, (...args) => {
      counts[event] = (counts[event] || 0) + 1;
      note(name, [event, ...args.map(show)].join(' '));
      react(name, event, counts[event]);
    });
  }
}

function react(name, event, count) {
  const on = scenario.on || {};
  run(name, on[`${name}.${event}`] || []);
  run(name, on[`${name}.${event}#${count}`] || []);
}

function run(me, actions) {
  for (const [verb, ...args] of actions) {
    if (verb === 'call') {
      const [name, method, ...rest] = args;
      if (!objects[name]) { note(me, 'missing ' + name); continue; }
      try {
        const result = objects[name][camel(method)](...rest.map((a) => argument(name, a)));
        if (typeof result === 'boolean') note(me, `${name}.${method} ${show(result)}`);
        else if (result !== objects[name]) note(me, `${name}.${method} other`);
      } catch (error) {
        note(me, `${name}.${method} raised ${show(error)}`);
      }
    } else if (verb === 'probe') {
      const [name, ...properties] = args;
      if (!objects[name]) { note(me, 'missing ' + name); continue; }
      note(me, properties.map((p) => `${name}.${p} ${show(objects[name][camel(p)])}`).join(' '));
    } else if (verb === 'server') {
      const [name, options] = args;
      const server = net.createServer(convert(options || {}));
      watch(name, server);
      server.on('connection', (socket) => {
        const child = 's' + ++accepted;
        note(name, 'connection');
        watch(child, socket);
        run(child, (scenario.on || {})[`${name}.connection`] || []);
        react(child, 'accepted', 1);
      });
    } else if (verb === 'listen') {
      // On the port of another server, if one is named; with the signal of `abort` or aborted.
      const [name, other, signal] = args;
      const server = objects[name];
      const options = { port: other ? ports[other] : 0, host: '127.0.0.1' };
      if (signal === 'aborted') options.signal = AbortSignal.abort();
      else if (signal) options.signal = controller.signal;
      server.prependOnceListener('listening', () => { ports[name] = server.address().port; });
      server.listen(options);
    } else if (verb === 'abort') {
      controller.abort();
    } else if (verb === 'set') {
      const [name, property, value] = args;
      objects[name][camel(property)] = value;
    } else if (verb === 'socket') {
      const [name, options] = args;
      watch(name, new net.Socket(convert(options || {})));
    } else if (verb === 'connect') {
      const [name, server, options] = args;
      objects[name].connect({ port: ports[server], host: '127.0.0.1', ...convert(options || {}) });
    } else if (verb === 'refuse') {
      objects[args[0]].connect({ port: 1, host: '127.0.0.1' });
    } else if (verb === 'tick') {
      process.nextTick(() => { note(me, 'tick ' + args[0]); run(me, args[1] || []); });
    } else if (verb === 'immediate') {
      setImmediate(() => { note(me, 'immediate ' + args[0]); run(me, args[1] || []); });
    } else if (verb === 'timer') {
      setTimeout(() => { note(me, 'timer ' + args[1]); run(me, args[2] || []); }, args[0]);
    } else if (verb === 'throw') {
      throw new Error(args[0]);
    } else {
      throw new Error('unknown verb ' + verb);
    }
  }
}

process.on('uncaughtException', (error) => { note('-', 'uncaught ' + show(error)); });
process.on('exit', () => { fs.writeSync(1, JSON.stringify(trace)); });
const STATE = ['ready_state', 'destroyed', 'writable_length', 'bytes_read', 'bytes_written'];
setTimeout(() => {
  for (const [name, object] of Object.entries(objects)) {
    if (object instanceof net.Socket) {
      note(name, 'left ' + STATE.map((p) => show(object[camel(p)])).join(' '));
      object.destroy();
    } else {
      note(name, 'left ' + show(object.listening));
      object.close();
    }
  }
}, scenario.end || 400)[scenario.end ? 'ref' : 'unref']();
run('-', scenario.start);
