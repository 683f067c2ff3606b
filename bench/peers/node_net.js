// Peer: Node.js, the same programs as pyuvnet_net.py.
//
//     node node_net.js MODE [PATH] [N]

'use strict';

const net = require('node:net');
const readline = require('node:readline');

const BACKLOG = 4096;
const [mode, path = '', count = ''] = process.argv.slice(2);
const pieces = Number(count || 1);
const clients = new Set();

function ignore() {}

function echo(socket) {
  socket.on('error', ignore);
  socket.on('data', (data) => socket.write(data));
}

function writes(socket) {
  socket.on('error', ignore);
  socket.on('data', (data) => {
    const length = Math.ceil(data.length / pieces);
    for (let at = 0; at < data.length; at += length)
      socket.write(data.subarray(at, at + length));
  });
}

function lines(socket) {
  let rest = '';
  socket.on('error', ignore);
  socket.setEncoding('utf8');
  socket.on('data', (text) => {
    const whole = (rest + text).split('\n');
    rest = whole.pop();
    for (const line of whole) socket.write(line + '\n');
  });
}

function read_lines(socket) {
  socket.on('error', ignore);
  readline.createInterface({ input: socket, crlfDelay: Infinity })
    .on('line', (line) => socket.write(line + '\n'));
}

function frames(socket) {
  let rest = null;
  socket.on('error', ignore);
  socket.on('data', (data) => {
    if (rest) data = Buffer.concat([rest, data]);
    let at = 0;
    while (data.length - at >= 4) {
      const size = data.readUInt32BE(at);
      if (data.length - at - 4 < size) break;
      const payload = data.subarray(at + 4, at + 4 + size);
      const answer = Buffer.allocUnsafe(4 + payload.length);
      answer.writeUInt32BE(payload.length);
      payload.copy(answer, 4);
      socket.write(answer);
      at += 4 + size;
    }
    rest = at < data.length ? data.subarray(at) : null;
  });
}

function pipe(socket) {
  socket.on('error', ignore);
  socket.pipe(socket);
}

function proxy(socket) {
  const behind = net.connect({ port: pieces, host: '127.0.0.1', noDelay: true });
  for (const one of [socket, behind]) one.on('error', ignore);
  socket.pipe(behind);
  behind.pipe(socket);
}

function timed_proxy(socket) {
  const behind = net.connect({ port: pieces, host: '127.0.0.1', noDelay: true });
  for (const one of [socket, behind]) {
    one.on('error', ignore);
    one.setTimeout(60_000, () => one.destroy());
  }
  socket.pipe(behind);
  behind.pipe(socket);
}

function send(socket) {
  const chunk = Buffer.alloc(65536);
  for (let i = 0; i < chunk.length; i++) chunk[i] = (i * 31 + (i >> 8)) & 255;
  const more = () => {
    while (socket.write(chunk));
  };
  socket.on('error', ignore);
  socket.on('drain', more);
  socket.resume();
  more();
}

function receive(socket) {
  let received = 0;
  socket.on('error', ignore);
  socket.on('data', (data) => { received += data.length; });
  socket.on('end', () => socket.end(`${received}\n`));
}

function broadcast(socket) {
  clients.add(socket);
  socket.on('error', ignore);
  socket.on('data', (data) => {
    for (const client of clients) client.write(data);
  });
  socket.on('close', () => clients.delete(socket));
}

function broadcast_text(socket) {
  socket.setEncoding('utf8');
  broadcast(socket);
}

const modes = {
  echo, writes, lines, read_lines, frames, pipe, proxy, timed_proxy, send, receive, broadcast,
  broadcast_text,
};
const server = net.createServer(
  { noDelay: true, allowHalfOpen: mode === 'receive' }, modes[mode]);
const options = path ? { path } : { port: 0, host: '127.0.0.1' };
server.listen({ ...options, backlog: BACKLOG }, () => {
  console.log(path ? 0 : server.address().port);
});
