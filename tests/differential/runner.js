// Plays scripts on Node's net: {folder, scripts} as JSON on stdin; a line of JSON for each trace
// goes to the file FOLDER/traces.
//
// runner.py is its twin. scripts.py says what a script is.
'use strict';
const dc = require('diagnostics_channel');
const fs = require('fs');
const net = require('net');
const { Duplex } = require('stream');
const tls = require('tls');

const EVENTS = ['listening', 'lookup', 'connectionAttempt', 'connectionAttemptFailed',
                'connectionAttemptTimeout', 'connect', 'ready', 'data', 'end', 'finish', 'drain',
                'timeout', 'error', 'close', 'pause', 'resume', 'drop'];
const STATE = ['ready_state', 'destroyed', 'writable_length', 'bytes_read', 'bytes_written'];
const ODD = { nan: NaN, inf: Infinity, '-inf': -Infinity, null: null };
const ODD_NAMES = { alpn_protocols: 'ALPNProtocols', sni_callback: 'SNICallback',
                    alpn_callback: 'ALPNCallback' };
const camel = (name) => ODD_NAMES[name] || name.replace(/(?<=\w)_(\w)/g, (_, c) => c.toUpperCase());
const plain = (value) => Object.prototype.toString.call(value) === '[object Object]';

class Player {
  constructor(script, folder) {
    this.script = script;
    this.folder = folder;
    this.things = { net, tls };
    this.ports = { ...script.ports };
    this.trace = [];
    this.accepted = 0;
    this.sessions = {};
    this.over = false;
    this.limit = setTimeout(() => { this.note('-', 'timed out'); this.finish(); }, 8000).unref();
  }

  note(name, ...entry) { if (!this.over) this.trace.push([name, entry.join(' ')]); }

  later(then) { return () => { if (!this.over) then(); }; }

  // ---- Values, as both sides print them ----

  show(value) {
    if (value === undefined || value === null) return 'None';
    if (value === true) return 'True';
    if (value === false) return 'False';
    if (value instanceof Error) return this.showError(value);
    if (Buffer.isBuffer(value)) return this.text(value.toString('latin1'));
    if (Array.isArray(value)) return `[${value.map((v) => this.show(v)).join(', ')}]`;
    if (typeof value === 'function') return 'a function';
    if (typeof value !== 'object') return this.text(String(value));
    for (const [name, thing] of Object.entries(this.things)) if (thing === value) return name;
    if (value instanceof tls.TLSSocket) return 'a TLSSocket';
    return `{${Object.entries(value).filter(([, v]) => v !== undefined).map(([k, v]) =>
      `${k}: ${/Port$/.test(k) && /^\d+$/.test(this.show(v)) ? 'a port' : this.show(v)}`
    ).join(', ')}}`;
  }

  showError(error) {
    // A DOMException has a number, for which ours says what other errors of Node say.
    const code = error.code === 20 ? 'ABORT_ERR' : error.code;
    const parts = [error.name, code, error.syscall].filter((v) => v != null);
    if (error.address != null) parts.push(`at ${error.address}:${this.show(error.port)}`);
    if (error.cause != null) parts.push(`because ${this.show(error.cause)}`);
    if (error.errors) parts.push(this.show(error.errors));
    // The texts of OpenSSL have addresses and places in its source.
    const ssl = /^ERR_(SSL|OSSL)/.test(error.code || '') && error.reason;
    // Newer ones have another name for some alerts, and newer Nodes advise an option of theirs.
    return this.text(`<${parts.join(' ')}: ${ssl || error.message}>`
      .replace(/; if the root CA is installed locally, .*--use-system-ca/, '')
      .replace('SSL/TLS_ALERT', 'SSLV3_ALERT').replace('ssl/tls alert', 'sslv3 alert'));
  }

  text(text) {
    text = text.replaceAll(this.folder, 'FOLDER').replace(/(Local \(.*:)[1-9]\d*\)/, '$1a port)');
    for (const [name, port] of Object.entries(this.ports)) {
      text = text.replace(new RegExp(`\\b${port}\\b`, 'g'), `port(${name})`);
    }
    return text;
  }

  // ---- Values that JSON has not ----

  value(me, value) {
    if (value === null) return undefined;
    if (Array.isArray(value)) return value.map((v) => this.value(me, v));
    if (typeof value !== 'object') return value;
    if (value.$) return this['make_' + value.$](me, value);
    return Object.fromEntries(
      Object.entries(value).map(([k, v]) => [camel(k), this.value(me, v)]));
  }

  make_cb(me, { name, then }) {
    return (...args) => {
      this.note(me, 'cb', name, ...args.filter((a) => a != null).map((a) => this.show(a)));
      this.run(me, then);
    };
  }
  make_error(me, { text }) { return new Error(text); }
  make_bytes(me, { text, count }) { return Buffer.from(text.repeat(count), 'latin1'); }
  make_port(me, { of }) { return this.ports[of]; }
  make_path(me, { name }) { return this.folder + name; }
  make_pem(me, { name }) { return fs.readFileSync(this.script.pki + '/' + name); }
  make_context(me, { options }) { return tls.createSecureContext(this.value(me, options)); }
  make_session(me, { of }) { return this.sessions[of]; }
  make_sni(me, { answers, when }) {
    return (name, callback) => {
      this.note(me, 'sni', name);
      const [error, context] = this.value(me, answers[name] || [null, null]);
      const reply = this.later(() => callback(error, context));
      if (when === 'now') reply(); else setImmediate(reply);
    };
  }
  make_alpn(me, { answer }) {
    return ({ servername, protocols }) => {
      this.note(me, 'alpn', this.show(servername || false), this.show(protocols));
      return answer === null ? undefined : answer;
    };
  }
  make_identity(me, { error }) {
    return (host, cert) => {
      this.note(me, 'identity', host, this.show(cert.subject), this.show(cert.subjectaltname));
      return error ? new Error(error) : undefined;
    };
  }
  make_fd(me, { of }) { return this.script.fds[of]; }
  make_thing(me, { name }) { return this.things[name]; }
  make_signal(me, { of }) { return this.things[of].signal; }
  make_odd(me, { name }) { return name === 'function' ? function nothing() {} : ODD[name]; }
  make_block_list(me, { addresses }) {
    const list = new net.BlockList();
    for (const address of addresses) list.addAddress(address, 'ipv' + net.isIP(address));
    return list;
  }
  make_lookup(me, { answer, when }) {
    return (host, options, callback) => {
      this.note(me, 'asked for', host, this.show(options));
      const reply = this.later(() => callback(...this.value(me, answer)));
      if (when === 'now') reply();
      else if (when === 'tick') process.nextTick(reply);
      else if (when === 'immediate') setImmediate(reply);
    };
  }
  make_onread(me, { size, fresh, stop }) {
    let reads = 0;
    // Node asks for the first buffer as early as in connect(); only the others have their place.
    const make = () => { if (reads) this.note(me, 'buffer wanted'); return Buffer.alloc(size); };
    return {
      buffer: fresh ? make : Buffer.alloc(size),
      callback: (count, buffer) => {
        this.note(me, 'read', this.show(buffer.subarray(0, count)));
        return ++reads !== stop;
      },
    };
  }

  // ---- Events ----

  watch(name, thing) {
    this.things[name] = thing;
    const counts = {};
    const silent = (this.script.silent || {})[name] || [];
    if (thing instanceof net.Server) {
      thing.prependListener('listening', () => {
        if (thing.address().port) this.ports[name] = thing.address().port;
      });
      if (thing instanceof tls.Server) {
        if ((this.script.raw || []).includes(name)) {
          thing.on('connection', (socket) => this.take(name, socket, 'r'));
        }
        thing.on('secureConnection', (socket) => this.take(name, socket));
      } else {
        thing.on('connection', (socket) => this.take(name, socket));
      }
    }
    if (thing instanceof tls.TLSSocket) {
      thing.on('session', (session) => { this.sessions[name] = session; });
    }
    const more = thing instanceof tls.Server ? ['tlsClientError'] :
      thing instanceof tls.TLSSocket ? ['secure', 'secureConnect'] : [];
    for (const event of [...EVENTS, ...more, ...((this.script.hear || {})[name] || [])]) {
      if (silent.includes(event)) continue;
      thing.on(event, (...args) => {
        counts[event] = (counts[event] || 0) + 1;
        this.note(name, event, ...args.map((a) => this.show(a)));
        this.react(name, event, counts[event]);
      });
    }
  }

  take(server, socket, prefix = 's') {
    const child = prefix + ++this.accepted;
    this.note(server, 'connection');
    this.watch(child, socket);
    this.react(child, 'accepted', 1);
    this.run(server, (this.script.on || {})[`${server}.connection`] || []);
  }

  react(name, event, count) {
    const on = this.script.on || {};
    this.run(name, on[`${name}.${event}`] || []);
    this.run(name, on[`${name}.${event}#${count}`] || []);
  }

  run(me, actions) {
    for (const [verb, ...args] of actions) if (!this.over) this['do_' + verb](me, ...args);
  }

  // ---- Verbs ----

  do_call(me, name, method, ...args) {
    let result;
    try {
      result = this.things[name][camel(method)](...args.map((a) => this.value(name, a)));
    } catch (error) {
      this.note(me, `${name}.${method} raised`, this.show(error));
      return;
    }
    if (result !== this.things[name]) this.note(me, `${name}.${method}`, this.show(result));
  }
  do_probe(me, name, ...properties) {
    const thing = this.things[name];
    this.note(me, properties.map((p) => `${name}.${p} ${this.show(thing[camel(p)])}`).join(' '));
  }
  do_set(me, name, property, value) { this.things[name][camel(property)] = this.value(me, value); }
  make(me, name, make) {
    try {
      this.watch(name, make());
    } catch (error) {
      this.note(me, name, 'raised', this.show(error));
    }
  }
  do_server(me, name, ...args) {
    this.make(me, name, () => new net.Server(...args.map((a) => this.value(name, a))));
  }
  do_socket(me, name, ...args) {
    this.make(me, name, () => new net.Socket(...args.map((a) => this.value(name, a))));
  }
  do_create(me, name, ...args) {
    this.make(me, name, () => net.createConnection(...args.map((a) => this.value(name, a))));
  }
  do_tls_server(me, name, ...args) {
    this.make(me, name, () => tls.createServer(...args.map((a) => this.value(name, a))));
  }
  do_tls_connect(me, name, ...args) {
    this.make(me, name, () => tls.connect(...args.map((a) => this.value(name, a))));
  }
  do_tls_socket(me, name, plain, options) {
    this.make(me, name, () => new tls.TLSSocket(this.things[plain], this.value(name, options)));
  }
  do_duplex(me, name, of) {
    const below = this.things[of];
    const duplex = this.things[name] = new Duplex({
      read() { below.resume(); },
      write(chunk, encoding, callback) { below.write(chunk, callback); },
      final(callback) { below.end(callback); },
    });
    below.on('data', (chunk) => { if (!duplex.push(chunk)) below.pause(); });
    below.on('end', () => duplex.push(null));
    below.on('close', () => duplex.destroy());
  }
  do_bound(me, name, options) {
    try {
      this.things[name] = new net.BoundSocket(this.value(name, options));
      const { port } = this.things[name].address();
      if (port) this.ports[name] = port;
    } catch (error) {
      this.note(me, name, 'raised', this.show(error));
    }
  }
  do_controller(me, name) { this.things[name] = new AbortController(); }
  do_abort(me, name, ...reason) {
    this.things[name].abort(...reason.map((r) => this.value(name, r)));
  }
  do_subscribe(me, channel) {
    dc.subscribe(channel, this.later2((message) => {
      this.note('-', channel, Object.keys(message).sort().join(' '));
    }));
  }
  later2(then) { return (...args) => { if (!this.over) then(...args); }; }
  do_tick(me, label, then) {
    process.nextTick(this.later(() => { this.note(me, 'tick', label); this.run(me, then); }));
  }
  do_immediate(me, label, then) {
    setImmediate(this.later(() => { this.note(me, 'immediate', label); this.run(me, then); }));
  }
  do_timer(me, ms, label, then) {
    setTimeout(this.later(() => { this.note(me, 'timer', label); this.run(me, then); }), ms);
  }
  do_turns(me, count, then) {
    const turn = this.later(() => count-- ? setImmediate(turn) : this.run(me, then));
    turn();
  }
  do_until(me, name, property, value, then) {
    const look = this.later(() => {
      const thing = this.things[name];
      if (thing && thing[camel(property)] === value) this.run(me, then);
      else setImmediate(look);
    });
    look();
  }
  do_iterate(me, name, most, then) {
    (async () => {
      let text = '';
      try {
        for await (const chunk of this.things[name]) {
          text += chunk;
          if (text.length >= most) break;
        }
        this.note(name, 'iterated', text);
      } catch (error) {
        this.note(name, 'iterated', text, this.show(error));
      }
      this.run(name, then);
    })();
  }
  do_reject(me, name, event, text) {
    this.things[name].on(event, async () => { throw new Error(text); });
  }
  do_throw(me, text) { throw new Error(text); }
  ask(question) {
    const answer = Buffer.alloc(64);
    fs.writeSync(this.script.fds.peers, question + '\n');
    return Number(answer.toString('latin1', 0, fs.readSync(this.script.fds.peers, answer)));
  }
  do_peer(me, name, kind, late) { this.ports[name] = this.ask(`open ${kind} ${late}`); }
  do_pump(me, quiet, most, then) {
    let left = quiet;
    let noted = 0;
    const turn = this.later(() => {
      const busy = this.ask('turn') || noted !== this.trace.length;
      noted = this.trace.length;
      left = busy ? quiet : left - 1;
      if (left && most--) return setImmediate(turn);
      this.run(me, then);
      this.finish();
      // A handle that Node forgot keeps the loop alive for ever.
      setTimeout(again);
    });
    setImmediate(turn);
  }
  do_finish() { this.finish(); }

  finish() {
    if (this.over) return;
    clearTimeout(this.limit);
    for (const [name, thing] of Object.entries(this.things)) {
      if (thing instanceof net.Socket) {
        // How many bytes a record has is nobody's business.
        const state = this.script.tls ? STATE.slice(0, 3) : STATE;
        this.note(name, 'left', ...state.map((p) => this.show(thing[camel(p)])));
        thing.destroy();
      } else if (thing instanceof net.Server) {
        this.note(name, 'left', this.show(thing.listening));
        thing.close();
      }
    }
    this.over = true;
  }
}

const { folder, scripts } = JSON.parse(fs.readFileSync(0, 'utf8'));
let player = null;
let number = 0;

// The loop is empty: the script is over. Whatever keeps it alive is part of the behaviour.
function next() {
  if (player && !player.over) return player.finish();
  if (player) fs.appendFileSync(folder + '/traces', JSON.stringify(player.trace) + '\n');
  if (number === scripts.length) process.exit();
  player = new Player(scripts[number], `${folder}/${number++}/`);
  player.run('-', player.script.start);
}
function again() { setImmediate(next); }

process.on('beforeExit', again);
process.on('uncaughtException', (error) => player.note('-', 'uncaught', player.show(error)));
process.on('warning', (warning) => player.note('-', 'warning', warning.name));
