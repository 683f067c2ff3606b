'use strict';
// Makes calls (JSON on stdin, see test_arguments.py) with net; prints what came of each as JSON.
const net = require('net');

const SPECIAL = { nan: NaN, infinity: Infinity, undefined, callback: () => {} };

function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (value !== null && typeof value === 'object') {
    if ('$' in value) return SPECIAL[value.$];
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decode(item)]));
  }
  return value;
}

function shown(error) {
  return [error.name, error.code, error.message];
}

function listen(args, done) {
  const server = net.createServer();
  const seen = [];
  server.on('listening', () => {
    const address = server.address();
    seen.push(['listening', server._connectionKey,
      address && typeof address === 'object' ? [address.address, address.family] : address]);
    server.close();
  });
  server.on('error', (error) => seen.push(['error', ...shown(error), error.syscall]));
  try {
    seen.push(server.listen(...args) === server);
  } catch (error) {
    seen.push(['raised', ...shown(error)]);
  }
  // A host takes a lookup.
  const wait = () => (seen.length < 2 && seen[0] === true ? setTimeout(wait, 5) : done(seen));
  setImmediate(wait);
}

function bound(args, done) {
  try {
    const made = new net.BoundSocket(...args);
    const address = made.address();
    made.close();
    done([made.isPipe, typeof address === 'object' ? [address.address, address.family] : address]);
  } catch (error) {
    done(['raised', ...shown(error)]);
  }
}

function server(args, done) {
  try {
    const made = net.createServer(...args);
    done([made.highWaterMark, made.keepAliveInitialDelay, made.noDelay, made.keepAlive,
      made.allowHalfOpen, made.pauseOnConnect]);
  } catch (error) {
    done(['raised', ...shown(error)]);
  }
}

const WHAT = { listen, bound, server };

function play(cases, results) {
  if (cases.length === 0) {
    process.stdout.write(JSON.stringify(results));
    return;
  }
  const [[what, args], ...rest] = cases;
  WHAT[what](decode(args), (result) => play(rest, [...results, result]));
}

let text = '';
process.stdin.on('data', (data) => { text += data; });
process.stdin.on('end', () => play(JSON.parse(text), []));
