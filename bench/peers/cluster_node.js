// Peer of `bench cluster`: Node.js, in one process or in a cluster.
//
//     node cluster_node.js MODE POLICY WORKERS
//
// The same program as cluster_pyuvnet.py; POLICY: one, rr, none.

'use strict';

const cluster = require('node:cluster');
const net = require('node:net');

const BACKLOG = 4096;
const BLOCKED = 2500;
const [mode, policy, count] = process.argv.slice(2);

function echo(socket) {
  socket.on('error', () => {});
  socket.on('data', (data) => socket.write(data));
}

function block() {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCKED);
}

function who(socket) {
  socket.on('error', () => {});
  socket.on('data', (data) => {
    socket.end(`${process.pid}\n`);
    if (data[0] === 98) socket.once('finish', block);
  });
}

function serve(listening) {
  const server = net.createServer({ noDelay: true }, mode === 'who' ? who : echo);
  server.listen(0, '127.0.0.1', BACKLOG, () => listening && listening(server.address().port));
}

if (cluster.isWorker) {
  serve();
} else if (policy === 'one') {
  serve((port) => console.log(port));
} else {
  let listens = 0;
  cluster.schedulingPolicy = policy === 'rr' ? cluster.SCHED_RR : cluster.SCHED_NONE;
  cluster.on('listening', (worker, address) => {
    if (++listens === Number(count)) console.log(address.port);
  });
  cluster.on('exit', () => cluster.fork());
  for (let i = 0; i < Number(count); i++) cluster.fork();
}
