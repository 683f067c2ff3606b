// Plays the scripts of test_streams.py (JSON on stdin) on Node; prints their traces.
'use strict';
const stream = require('stream');
const results = [];
const later = (f) => setImmediate(f);
const camel = (name) => name.replace(/_(\w)/g, (_, c) => c.toUpperCase());
async function play([kind, options, steps, calls, hear, on = {}]) {
  const pending = [];
  const trace = [];
  const note = (...what) => trace.push(what.filter((w) => w !== undefined).map((w) =>
    w === null ? 'None' : w === true ? 'True' : w === false ? 'False' : w instanceof Error ? `${w.code ?? 'Error'}: ${w.message}`
      : Array.isArray(w) ? w.map((c) => c.chunk.toString()).join('+') : w.toString()).join(' '));
  const BEHAVIOURS = {
    upper: (c, e, cb) => cb(null, c.toString().toUpperCase()),
    twice: (c, e, cb) => { s.push(c); s.push(c); cb(); },
    later: (c, e, cb) => later(() => cb(null, c)),
    end: (c, e, cb) => { s.push(c); s.push(null); cb(); },
    fail: (c, e, cb) => cb(new Error('transform')),
    raise: () => { throw new Error('raised'); },
    again: (...a) => { const cb = a.at(-1); cb(); cb(); },
    note: (...a) => { note('step', ...a.slice(0, -1).filter((w) => typeof w !== 'string'));
                      a.at(-1)(); },
    tail: (cb) => { note('tail'); cb(null, 'tail'); },
    broken: (...a) => { note('broken'); a.at(-1)(new Error('broken')); },
    late: (...a) => later(() => a.at(-1)(new Error('late'))),
    wait: (...a) => later(() => a.at(-1)(a[0])),
    hold: (...a) => { note('step', ...a.slice(0, -1).filter((w) => typeof w !== 'string'));
                      pending.push(a.at(-1)); },
    slow: (...a) => { note('slow'); later(() => a.at(-1)(null)); },
    abc: () => { note('read'); s.push('abc'); s.push(null); },
  };
  const source = (what) => {
    const chunks = what.slice('push:'.length).split(',');
    return (size) => {
      note('read', size);
      if (chunks.length === 0) s.push(null);
      else if (chunks[0] !== '') s.push(chunks.shift());
    };
  };
  const given = Object.fromEntries(Object.entries(options).map(([k, v]) => [camel(k), v]));
  for (const [name, what] of Object.entries(steps)) given[name] = BEHAVIOURS[what] ?? source(what);
  const s = new stream[kind](given);
  for (const event of hear) {
    let count = 0;
    s.on(event, (arg) => {
      note(event, arg);
      count += 1;
      for (const each of on[event] ?? on[`${event}#${count}`] ?? []) act(each);
    });
  }
  function act([method, ...args]) {
    if (method === 'note') return note(...args);
    if (method === 'tick') return process.nextTick(note, ...args);
    if (method === 'look') return note(...args.map((name) => s[camel(name)] ?? null));
    if (method === 'answer') return pending.shift()(args.length ? new Error('given') : null);
    const real = args.map((a) => a === 'CB' ? (e) => note('cb', e ?? null)
      : a === 'ERROR' ? new Error('given') : a);
    try {
      const value = s[camel(method)](...real);
      if (value !== s && value !== undefined) note(method, value);
    } catch (e) { note('raises', e.code ?? 'Error'); }
  }
  for (const each of calls) {
    if (each[0] === 'turn') { await new Promise(later); await new Promise(later); } else act(each);
  }
  for (let n = 0; n < 8; n++) await new Promise(later);
  note(s.destroyed, s.readableLength ?? 0, s.writableLength ?? 0);
  results.push(trace);
}
process.on('uncaughtException', (e) => { console.error(e); process.exit(1); });
(async () => {
  for (const script of JSON.parse(require('fs').readFileSync(0))) await play(script);
  console.log(JSON.stringify(results));
})();
