"""Random scripts of all methods of a socket, on Node's net and here: which of them differ?

    python -m tests.differential.random_scripts --scripts 20000 [--seed 1] [--node PATH]

A script calls methods of one socket at moments (before connect(), right after it, in the listeners
of its events, in a tick or an immediate after each) against a peer of a kind of peers.py. Both
sides note the events with their arguments, what the calls return, the callbacks, and the socket's
properties at the end; the two traces must be the same. DEVIATIONS are the differences that
docs/deviations.md explains. What else differs is played again, since little of the kernel is left
to chance but not nothing, and made as short as it can be.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

import play
from peers import KINDS
from scripts import call, cb, data, error, later, peer, port, probe, pump, thing, tick

Step = tuple[str, list[Any]]  # a moment, and what is done then
Trace = list[str]
Rng = random.Random

MOMENTS = ["before", "after", "connect", "data", "end", "finish", "error", "close"]
WEIGHTS = [4, 4, 5, 4, 4, 1, 1, 3]
SUFFIXES = ["", "+tick", "+immediate"]
FINALLY = probe(
    "c", "ready_state", "destroyed", "closed", "errored", "pending", "connecting", "readable",
    "writable", "readable_flowing", "readable_length", "readable_ended", "readable_did_read",
    "readable_aborted", "writable_length", "writable_ended", "writable_finished",
    "writable_need_drain", "writable_corked", "bytes_read", "bytes_written",
)  # fmt: skip
STATE = probe(
    "c", "ready_state", "destroyed", "errored", "writable_length", "bytes_written",
    "readable_flowing", "readable_length", "writable_need_drain",
)  # fmt: skip


# ---- Making them -----------------------------------------------------------------------------------


def _chunk(rng: Rng, kind: str) -> Any:
    size = rng.choice(["small", "small", "small", "empty", "text", "mark", "big"])
    if size == "big" and kind in ("hang", "close", "reset", "refuse"):
        return data("w", 6_000_000)
    if size in ("big", "mark"):
        return data("w", 70_000)
    return {"small": data("ab"), "empty": data(""), "text": "text"}[size]


def _call(rng: Rng, kind: str, name: str) -> list[Any]:
    """A call of one of the methods; name: of its callback."""
    callback = [cb(name)]
    maybe = rng.choice([[], callback])

    def plain(method: str, *args: Any) -> Callable[[], list[Any]]:
        return lambda: call("c", method, *args)

    calls: list[tuple[int, Callable[[], list[Any]]]] = [
        (14, lambda: call("c", "write", _chunk(rng, kind), *maybe)),
        (6, lambda: call("c", "end", *maybe)),
        (3, lambda: call("c", "end", _chunk(rng, kind), *maybe)),
        (4, plain("destroy")),
        (2, plain("destroy", error("of " + name))),
        (4, plain("destroy_soon")),
        (3, plain("reset_and_destroy")),
        (4, plain("pause")),
        (5, plain("resume")),
        (4, lambda: call("c", "read", *rng.choice([[], [], [0], [3], [100_000]]))),
        (1, plain("unshift", data("U"))),
        (1, lambda: call("c", "set_encoding", rng.choice(["utf8", "hex", "latin1"]))),
        (2, plain("cork")),
        (3, plain("uncork")),
        (1, plain("set_default_encoding", "latin1")),
        (2, lambda: call("c", "on", rng.choice(["data", "readable", "end"]), *callback)),
        (1, lambda: call("c", "once", rng.choice(["data", "readable"]), *callback)),
        (1, lambda: call("c", "remove_all_listeners", rng.choice(["data", "readable"]))),
        (1, plain("pipe", thing("c"))),
        (1, plain("unpipe")),
        (1, lambda: call("c", "set_timeout", rng.choice([0, 60_000]), *maybe)),
        (1, lambda: call("c", "set_no_delay", rng.choice([True, False]))),
        (1, lambda: call("c", "set_keep_alive", rng.choice([True, False]), 5000)),
        (1, plain("set_type_of_service", 16)),
        (1, plain("get_type_of_service")),
        (1, plain("is_paused")),
        (1, plain("ref")),
        (1, plain("unref")),
        (1, lambda: connecting(*maybe)),
    ]
    weights = [weight for weight, _ in calls]
    return rng.choices([make for _, make in calls], weights)[0]()


def connecting(*callback: Any) -> list[Any]:
    return call("c", "connect", {"port": port("P"), "host": "127.0.0.1"}, *callback)


def generate(rng: Rng) -> dict[str, Any]:
    """A script as data: the peer, the socket's options, who listens, and the steps."""
    kind = rng.choice(list(KINDS))
    options: dict[str, Any] = {}
    if rng.random() < 0.3:
        options["allow_half_open"] = True
    if rng.random() < 0.1:
        options["high_water_mark"] = rng.choice([0, 1, 16])
    steps: list[Step] = []
    for number in range(rng.choice([1, 2, 2, 3, 3, 4, 5, 6, 7])):
        moment = rng.choices(MOMENTS, WEIGHTS)[0] + rng.choice(["", "", *SUFFIXES])
        steps.append((moment, _call(rng, kind, f"f{number}")))
    return {
        "peer": kind,
        "late": rng.choice([0, 0, 0, 1, 2]),
        "options": options,
        "connects": rng.random() < 0.92,
        "silent": [event for event in ["data", "end"] if rng.random() < 0.25],
        "hear": ["readable"] if rng.random() < 0.1 else [],
        "state": rng.random() < 0.5,
        "steps": steps,
    }


def to_script(made: dict[str, Any]) -> dict[str, Any]:
    """What the runners play."""
    moments: dict[str, list[Any]] = {}
    for number, (moment, action) in enumerate(made["steps"]):
        name, _, suffix = moment.partition("+")
        done = [action, STATE] if made["state"] else [action]
        if suffix:
            done = [(tick if suffix == "tick" else later)(f"{number}", *done)]
        moments.setdefault(name, []).extend(done)
    connect = [connecting()] if made["connects"] else []
    return {
        "start": [
            peer("P", made["peer"], made["late"]),
            ["socket", "c", made["options"]],
            *moments.pop("before", []),
            *connect,
            *moments.pop("after", []),
            pump(FINALLY, ["finish"]),
        ],
        "on": {f"c.{event}#1": actions for event, actions in moments.items()},
        "silent": {"c": made["silent"]},
        "hear": {"c": made["hear"]},
    }


# ---- Playing them ----------------------------------------------------------------------------------


def play_both(scripts: list[dict[str, Any]]) -> list[tuple[Trace, Trace]]:
    """What Node and pyuvnet make of them."""
    ready = [to_script(script) for script in scripts]
    limit = 20 + len(ready)
    both = [
        play.play_in_order(command, ready, limit) for command in (play.on_node(), play.ON_PYUVNET)
    ]
    return [
        (joined(theirs), joined(ours)) for theirs, ours in zip(both[0], both[1], strict=True)
    ]


def joined(entries: list[tuple[str, str]]) -> Trace:
    """A trace as lines; consecutive 'data' are one, since nobody promises where the kernel cuts."""
    trace: Trace = []
    for name, entry in entries:
        line = f"{name} {entry}"
        if line.startswith("c data ") and trace and trace[-1].startswith("c data "):
            trace[-1] += line.removeprefix("c data ")
        else:
            trace.append(line)
    return [re.sub(r"(z{50,}|w{50,})", lambda run: f"{run[0][0]}*{len(run[0])}", x) for x in trace]


# ---- Comparing them --------------------------------------------------------------------------------

Deviation = Callable[[Trace, Trace], "tuple[Trace, Trace] | None"]
DEVIATIONS: dict[str, Deviation] = {}


def deviation(function: Deviation) -> Deviation:
    """Register what makes a documented difference none: it gives both traces without it, or None."""
    DEVIATIONS[function.__name__] = function
    return function


def first_difference(theirs: Trace, ours: Trace) -> int:
    for place, (one, other) in enumerate(zip(theirs, ours, strict=False)):
        if one != other:
            return place
    return min(len(theirs), len(ours))


@deviation
def close_without_argument(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """A socket that never had a handle hears no had_error from Node."""
    place = first_difference(theirs, ours)
    if place < len(theirs) and theirs[place] == "c close" and ours[place].startswith("c close "):
        return [*theirs[:place], ours[place], *theirs[place + 1 :]], ours
    return None


def compare(theirs: Trace, ours: Trace) -> tuple[Trace, Trace, list[str]]:
    """Both traces without the documented differences, and their names."""
    found: list[str] = []
    while theirs != ours:
        for name, remove in DEVIATIONS.items():
            less = remove(theirs, ours)
            if less is not None:
                theirs, ours = less
                found.append(name)
                break
        else:
            break
    return theirs, ours, found


def same(theirs: Trace, ours: Trace) -> bool:
    one, other, _ = compare(theirs, ours)
    return one == other


# ---- Shortening them -------------------------------------------------------------------------------


def shorter(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Scripts with a little less in them."""
    steps = made["steps"]
    for number in range(len(steps)):
        yield made | {"steps": steps[:number] + steps[number + 1 :]}
    for key, plain in {
        "late": 0, "options": {}, "silent": [], "hear": [], "state": False, "connects": True,
    }.items():  # fmt: skip
        if made[key] != plain:
            yield made | {key: plain}
    for number, (moment, action) in enumerate(steps):
        name, _, suffix = moment.partition("+")
        moments = [name] if suffix else []
        moments += {"after": ["before"], "data": ["connect"], "end": ["connect"]}.get(name, [])
        actions = []
        if len(action) > 4:
            actions.append(action[:-1])
        if len(action) > 3 and action[3] != data("ab") and action[2] in ("write", "end"):
            actions.append([*action[:3], data("ab"), *action[4:]])
        for less in [(each, action) for each in moments] + [(moment, each) for each in actions]:
            yield made | {"steps": [*steps[:number], less, *steps[number + 1 :]]}
    if made["peer"] not in ("echo", "hang"):
        yield made | {"peer": "hang"}
        yield made | {"peer": "echo"}


def shrink(made: dict[str, Any], most: int = 40) -> dict[str, Any]:
    """The shortest script found that still differs."""
    for _ in range(most):
        candidates = list(shorter(made))
        for candidate, (theirs, ours) in zip(candidates, play_both(candidates), strict=True):
            if not same(theirs, ours):
                made = candidate
                break
        else:
            break
    return made


def differs_for_good(made: dict[str, Any], times: int = 5) -> bool:
    """True if the traces of Node and ours have nothing in common, played so often."""
    pairs = play_both([made] * times)
    return not any(same(theirs, ours) for theirs, _ in pairs for _, ours in pairs)


def shown(made: dict[str, Any]) -> str:
    """A script to be read."""
    steps = [f"  {moment:18} {_shown_call(action)}" for moment, action in made["steps"]]
    more = {k: v for k, v in made.items() if k not in ("steps", "peer") and v not in (0, [], {})}
    return "\n".join([f"{made['peer']} {more}", *steps])


def _shown_call(action: list[Any]) -> str:
    args = []
    for each in action[3:]:
        if isinstance(each, dict) and "$" in each:
            kind = each["$"]
            each = {"bytes": f"{each.get('text')!r}*{each.get('count')}"}.get(
                kind, f"{kind} {each.get('name', each.get('text', ''))}"
            )
        args.append(str(each))
    return f"{action[2]}({', '.join(args)})"


def explain(made: dict[str, Any]) -> str:
    """A script with both traces, side by side."""
    theirs, ours = play_both([made])[0]
    theirs, ours, known = compare(theirs, ours)
    place = first_difference(theirs, ours)
    lines = [shown(made), *(f"    (known: {name})" for name in known)]
    for number in range(max(len(theirs), len(ours))):
        one = theirs[number] if number < len(theirs) else "-"
        other = ours[number] if number < len(ours) else "-"
        mark = " " if one == other else "!"
        if number > place + 12:
            lines.append("    ...")
            break
        lines.append(f"  {mark} {one}" if one == other else f"  {mark} {one}\n        ours: {other}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--scripts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--show", type=int, default=10, help="how many are made short and shown")
    parser.add_argument("--node", help="the Node to compare with; default PYUVNET_NODE, or PATH's")
    given = parser.parse_args()
    if given.node:
        play.NODE = given.node
    started = time.monotonic()
    known: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    total = chance = 0
    differ: dict[str, dict[str, Any]] = {}
    for start in range(0, given.scripts, given.batch):
        numbers = range(start, min(start + given.batch, given.scripts))
        batch = [generate(random.Random(f"{given.seed} {number}")) for number in numbers]
        for made, (theirs, ours) in zip(batch, play_both(batch), strict=True):
            total += 1
            calls.update(action[2] for _, action in made["steps"])
            one, other, names = compare(theirs, ours)
            known.update(set(names))
            if one == other:
                continue
            if differs_for_good(made):
                differ[json.dumps(made)] = made
                if len(differ) <= given.show:
                    print(explain(shrink(made)), flush=True)
                    print(flush=True)
            else:
                chance += 1
        print(f"{total} scripts, {len(differ)} differ", file=sys.stderr, flush=True)
    print(f"{total} scripts, {sum(calls.values())} calls, in {time.monotonic() - started:.0f} s")
    print(f"calls: {', '.join(f'{name} {count}' for name, count in calls.most_common())}")
    print(f"documented: {', '.join(f'{name} {count}' for name, count in known.most_common())}")
    print(f"by chance (the same when played again): {chance}")
    print(f"undocumented differences: {len(differ)}")
    return 1 if differ else 0


if __name__ == "__main__":
    raise SystemExit(main())
