// Addresses with zones: what Node's net says of them, as JSON. The twin of link_local.py.
'use strict';
const net = require('net');

const [first, second] = process.argv.slice(2);  // the interfaces: fe80::1 and fe80::2 are theirs
const told = {};
const named = ({ address, family }) => [address, family];

function connection(name, options, listening, then) {
  const seen = told[name] = {};
  const blockList = new net.BlockList();
  for (const address of options.blocked || []) blockList.addAddress(address, 'ipv6');
  const server = net.createServer((socket) => {
    seen.accepted = [socket.remoteAddress, socket.remoteFamily, socket.localAddress];
    seen.acceptedAddress = named(socket.address());
    socket.on('close', () => { seen.kept = socket.remoteAddress; });
    socket.end();
  });
  server.on('error', (error) => {
    seen.listening = error.code;
    then();
  });
  server.listen({ port: 0, host: listening }, () => {
    const { port } = server.address();
    seen.address = named(server.address());
    const { host, localAddress } = options;
    const socket = net.connect({ port, host, localAddress, blockList }, () => {
      seen.connected = [socket.remoteAddress, socket.remoteFamily, socket.localAddress];
      seen.connectedAddress = named(socket.address());
    });
    socket.on('lookup', (error, address, family) => { seen.lookup = [address, family]; });
    socket.on('connectionAttempt', (address, port, family) => {
      seen.attempt = [address, family];
    });
    socket.on('error', (error) => { seen.error = [error.code, error.address || null]; });
    socket.on('close', () => server.close());
    socket.resume();
  });
  server.on('close', then);
}

function judge() {
  const list = new net.BlockList();
  list.addAddress('fe80::1', 'ipv6');
  const zoned = new net.BlockList();
  zoned.addAddress(`fe80::9%${first}`, 'ipv6');
  told.checks = [`fe80::1%${first}`, `fe80::1%${second}`, 'fe80::1', `fe80::2%${first}`].map(
    (address) => list.check(address, 'ipv6'));
  told.zonedRule = [zoned.rules, zoned.check('fe80::9', 'ipv6')];
  const made = new net.SocketAddress({ address: `fe80::1%${first}`, family: 'ipv6' });
  told.socketAddress = [made.address, list.check(made)];
  told.parsed = net.SocketAddress.parse(`[fe80::1%${first}]:80`) === undefined;
  told.isIP = [`fe80::1%${first}`, 'fe80::1%', 'fe80::1%1', 'fe80::1%a_b'].map(net.isIP);
}

const steps = [
  (then) => connection('here', { host: `fe80::1%${first}` }, `fe80::1%${first}`, then),
  (then) => connection('any', { host: `fe80::2%${second}` }, '::', then),
  (then) => connection('bound', {
    host: `fe80::1%${first}`, localAddress: `fe80::1%${first}`,
  }, '::', then),
  (then) => connection('loopback', { host: '::1%lo' }, '::1', then),
  (then) => connection('no zone', { host: 'fe80::1' }, '::', then),
  (then) => connection('no such zone', { host: 'fe80::1%nowhere' }, '::', then),
  (then) => connection('blocked', {
    host: `fe80::1%${first}`, blocked: ['fe80::1'],
  }, '::', then),
  (then) => connection('listening without zone', {}, 'fe80::1', then),
  (then) => connection('listening elsewhere', {}, `fe80::1%${second}`, then),
  judge,
];
process.on('exit', () => console.log(JSON.stringify(told)));
const next = () => steps.shift()(next);
next();
