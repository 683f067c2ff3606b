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
from typing import Any

from tests.support import play
from tests.support.peers import KINDS
from tests.support.scripts import call, cb, data, error, later, peer, port, probe, pump, thing, tick

Step = tuple[str, list[Any]]  # a moment, and what is done then
Trace = list[str]
Rng = random.Random
PATIENCE = 3  # seconds in which some script must have come to its end
DIED = "does not come back"

MOMENTS = ["before", "after", "connect", "data", "end", "finish", "error", "close"]
WEIGHTS = [4, 4, 5, 4, 4, 1, 1, 3]
SUFFIXES = ["", "+tick", "+immediate"]
FINALLY = probe(
    "c", "writable_length", "ready_state", "destroyed", "closed", "errored", "pending",
    "connecting", "readable", "writable", "readable_flowing", "readable_length", "readable_ended",
    "readable_did_read", "readable_aborted", "writable_ended", "writable_finished",
    "writable_need_drain", "writable_corked", "bytes_read", "bytes_written",
)  # fmt: skip
STATE = probe(
    "c", "writable_length", "ready_state", "destroyed", "errored", "bytes_written",
    "readable_flowing", "readable_length", "writable_need_drain",
)  # fmt: skip
# What is noted before a call, since what may come of it depends on that.
MARKS = {
    "connect": probe("c", "connecting", "pending", "destroyed", "writable_ended"),
    "read": probe("c", "destroyed"),
    "reset_and_destroy": probe("c", "closed"),
    "destroy_soon": probe("c", "closed"),
    "remove_all_listeners": probe("c", "readable_did_read"),
    "pipe": probe("c", "readable_ended"),
}


# ---- Making them ---------------------------------------------------------------------------------


def _chunk(rng: Rng, kind: str, empty: str = "empty") -> Any:
    size = rng.choice(["small", "small", "small", empty, "text", "mark", "big"])
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
        # An empty one is a question to the kernel in Node, and none here.
        (3, lambda: call("c", "end", _chunk(rng, kind, "text"), *maybe)),
        (4, plain("destroy")),
        (2, plain("destroy", error("of " + name))),
        (4, plain("destroy_soon")),
        (3, plain("reset_and_destroy")),
        (4, plain("pause")),
        (5, plain("resume")),
        (4, lambda: call("c", "read", *rng.choice([[], [], [0], [3], [100_000]]))),
        (1, plain("unshift", "U")),  # Bytes are not decoded there.
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
    for number in range(rng.choice([1, 2, 3, 3, 4, 4, 5, 6, 7, 8])):
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
        if action[2] in MARKS:
            done.insert(0, MARKS[action[2]])
        if suffix:
            done = [(tick if suffix == "tick" else later)(f"{number}", *done)]
        moments.setdefault(name, []).extend(done)
    connect = [MARKS["connect"], connecting()] if made["connects"] else []
    return {
        "start": [
            peer("P", made["peer"], made["late"]),
            ["socket", "c", made["options"]],
            *moments.pop("before", []),
            *connect,
            *moments.pop("after", []),
            pump(FINALLY),
        ],
        "on": {f"c.{event}#1": actions for event, actions in moments.items()},
        "silent": {"c": made["silent"]},
        "hear": {"c": made["hear"]},
    }


# ---- Playing them --------------------------------------------------------------------------------


def play_all(command: list[str], scripts: list[dict[str, Any]], *, may_die: bool) -> list[Trace]:
    """What a runner makes of them; of one at which it dies or stays, that.

    Args:
        command: the runner.
        scripts: for the runners.
        may_die: whether the runner may die: Node does, in one of 10,000 scripts or so, when memory
            that it has spoilt is freed.
    """
    traces: list[Trace] = []
    while len(traces) < len(scripts):
        done = play.play_in_order(command, scripts[len(traces) :], limit=PATIENCE, may_die=may_die)
        traces.extend(map(joined, done))
        if not done:
            traces.append([DIED])
    return traces


def play_both(scripts: list[dict[str, Any]]) -> list[tuple[Trace, Trace]]:
    """What Node and pyuvnet make of them."""
    ready = [to_script(script) for script in scripts]
    theirs = play_all(play.on_node(), ready, may_die=True)
    return list(zip(theirs, play_all(play.ON_PYUVNET, ready, may_die=False), strict=True))


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


# ---- Comparing them ------------------------------------------------------------------------------

Deviation = Callable[[Trace, Trace], "tuple[Trace, Trace] | None"]
DEVIATIONS: dict[str, Deviation] = {}


def deviation(function: Deviation) -> Deviation:
    """Register what gives both traces without a documented difference, or None if it is not so."""
    DEVIATIONS[function.__name__] = function
    return function


def first_difference(theirs: Trace, ours: Trace) -> int:
    for place, (one, other) in enumerate(zip(theirs, ours, strict=False)):
        if one != other:
            return place
    return min(len(theirs), len(ours))


@deviation
def node_dies(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """Node crashed or spins: there is nothing to compare."""
    return (ours, ours) if theirs == [DIED] != ours else None


@deviation
def close_without_argument(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """A socket that never had a handle hears no had_error from Node."""
    place = first_difference(theirs, ours)
    if place < len(theirs) and theirs[place] == "c close" and ours[place].startswith("c close "):
        return [*theirs[:place], ours[place], *theirs[place + 1 :]], ours
    return None


@deviation
def reset_while_shutting_down(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """Node emits EINVAL and never 'close' if a reset finds the shutdown in flight."""
    return _cut(theirs, ours, lambda line: line.startswith("c error <Error EINVAL reset"))


@deviation
def connect_when_connected(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """connect() on a connected socket fails with EISCONN here; Node connects it again."""
    return _cut(theirs, ours, lambda line: "c.connecting False c.pending False c.de" in line)


@deviation
def connect_between_destroy_and_close(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """A new connection is made, and nothing of the old one strikes it; Node mixes both up."""
    for number, line in enumerate(theirs[: first_difference(theirs, ours) + 1]):
        if "c.pending True c.destroyed True" in line and not any(
            each.startswith("c close")
            for each in theirs[max(_connects(theirs[:number]), default=0) : number]
        ):
            return theirs[:number], ours[:number]
    return None


def _connects(trace: Trace) -> list[int]:
    return [number for number, line in enumerate(trace) if " c.connecting " in line[:15]]


def _begins_anew(trace: Trace) -> list[int]:
    """Where connect() gives a destroyed socket a second life."""
    return [n for n in _connects(trace) if "c.pending True c.destroyed True" in trace[n]]


@deviation
def end_before_connect(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """After an end() before connect() Node's connection counts as ended; here it is a fresh one."""
    place = first_difference(theirs, ours)
    fresh = [
        n
        for n in _connects(theirs[:place])
        if "c.pending True c.destroyed False c.writable_ended True" in theirs[n]
    ]
    if fresh and (
        any(" finish" in line[:10] for line in theirs[fresh[0] : place])
        or re.fullmatch(r"c cb \w+", "".join(theirs[place : place + 1]))
    ):
        return theirs[:place], ours[:place]
    return None


@deviation
def readable_after_reconnect(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """A second connection that is read by 'readable' stands still in Node."""
    place = first_difference(theirs, ours)
    line = "".join(theirs[place : place + 1])
    second = theirs[:place].count("c connect") > 1 or _begins_anew(theirs[:place])
    if second and line == "c readable" and "c.readable_flowing False" in "".join(ours[place:]):
        # Or it hears of the same twice.
        return theirs[:place], ours[:place]
    if (
        second
        and re.search(r" c\.ready_state (open|readOnly)\b", line)
        and "c.readable_flowing False" in line
    ):
        return theirs[:place], ours[:place]
    return None


@deviation
def reconnect_begins_with_nothing(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """In Node what the last life left undone goes on: what was buffered or unsent, a 'drain', a
    destroy_soon() or reset_and_destroy(), and the callback of an end().
    """
    place = first_difference(theirs, ours)
    again = _begins_anew(theirs[:place])
    if not again or place >= min(len(theirs), len(ours)):
        return None
    undone = any(" c.closed " in line[:11] for line in theirs[: again[-1]])
    left = "writable_need_drain|writable_length|bytes_written|readable_length"
    if undone:
        # It was destroyed before the 'end' that it would have had.
        left += "|readable_ended|readable_aborted"
    one, other = (
        re.sub(rf" c\.({left}) \S+|(?<=^c left)( .*) \d+$", r"\2", trace[place])
        for trace in (theirs, ours)
    )
    if one == other:
        return theirs, [*ours[:place], theirs[place], *ours[place + 1 :]]
    if theirs[place] == "c drain":
        return [*theirs[:place], *theirs[place + 1 :]], ours
    ended = any("c.writable_ended True" in line for line in theirs[: again[-1]])
    if ended and (
        (theirs[place] == "c end" and "c.ready_state open" in ours[place])
        or re.match(r"c (error|cb \w+) <Error EPIPE write:", theirs[place])
        or "c.errored <Error EPIPE write:" in theirs[place]
    ):
        # It waited for 'connect' to send its FIN, and does so at the next one.
        return theirs[:place], ours[:place]
    if (
        (theirs[place].startswith("c close") and undone)
        or re.match("c error <Error ERR_(SOCKET_CLOSED_BEFORE_CONN|MULTIPLE_C)", theirs[place])
        or re.fullmatch(r"c cb \w+", theirs[place])
    ):
        return theirs[:place], ours[:place]
    return None


@deviation
def nobody_reads_then_nothing_flows(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """Node forgets that remove_all_listeners('data') took the readers, and flows again."""
    place = first_difference(theirs, ours)
    if place >= min(len(theirs), len(ours)) or not any(
        " c.readable_did_read " in line[:22] for line in theirs[:place]
    ):
        return None
    if "c resume" in (theirs[place], ours[place]):
        return theirs[:place], ours[:place]
    if "c.readable_flowing None" in ours[place] and (
        theirs[place] in ("c end", "c finish") or "c.readable_ended True" in theirs[place]
    ):
        # To its end.
        return theirs[:place], ours[:place]
    if theirs[place].replace("c.readable_flowing True", "c.readable_flowing None") == ours[place]:
        return theirs, [*ours[:place], theirs[place], *ours[place + 1 :]]
    return None


@deviation
def the_library_keeps_its_listeners(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """remove_all_listeners('data') takes those of pipe() as well in Node."""
    place = first_difference(theirs, ours)
    marks = [" c.readable_did_read ", " c.readable_ended "]
    if all(any(mark in line[:22] for line in theirs[:place]) for mark in marks):
        return theirs[:place], ours[:place]
    return None


@deviation
def writes_are_answered_in_order(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """Of writes before connect(), which fail, and after it, Node answers the queued ones last."""
    place = first_difference(theirs, ours)
    failed = (
        "c error <Error ERR_SOCKET_CLOSED: Socket is closed>" in theirs[:place]
        or "- c.write False" in theirs[: next(iter(_connects(theirs)), 0)]
    )
    answered = re.compile(r"c cb \w+ <Error ERR_(SOCKET_CLOSED|STREAM_DESTROYED)")
    if (
        failed
        and place < min(len(theirs), len(ours))
        and answered.match(theirs[place])
        and answered.match(ours[place])
    ):
        return theirs[:place], ours[:place]
    return None


@deviation
def bytes_written_is_a_number(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """Node's bytesWritten is NaN while what was corked waits for a connection."""
    place = first_difference(theirs, ours)
    if place < min(len(theirs), len(ours)) and "c.bytes_written NaN" in theirs[place]:
        number = re.compile(r"c\.bytes_written \S+")
        if number.sub("", theirs[place]) == number.sub("", ours[place]):
            return theirs, [*ours[:place], theirs[place], *ours[place + 1 :]]
    return None


@deviation
def type_of_service_while_connecting(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """It is remembered; Node raises EBADF until the system has made the socket."""
    place = first_difference(theirs, ours)
    asked = ".get_type_of_service " in "".join(theirs[place : place + 1])
    if (asked and "c connect" not in theirs[:place]) or any(
        "type_of_service raised <Error EBADF" in line for line in theirs
    ):
        raise_or_not = re.compile(r"c\.[gs]et_type_of_service")
        return (
            [line for line in theirs if not raise_or_not.search(line)],
            [line for line in ours if not raise_or_not.search(line)],
        )
    return None


@deviation
def end_after_destroy_is_answered(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """The callback of an end() that a destroy() overtook is never called by Node."""
    place = first_difference(theirs, ours)
    if place < len(ours):
        found = re.search(r" cb (\w+) <Error ERR_STREAM_DESTROYED: Cannot call end", ours[place])
        life = theirs[: next((n for n in _connects(theirs) if n >= place), len(theirs))]
        if found and not any(f" cb {found[1]}" in line for line in life):
            return theirs, [*ours[:place], *ours[place + 1 :]]
    return None


FAILED_WRITE = re.compile(r"<Error (EPIPE|ECONNRESET) write:")


@deviation
def write_asks_at_once(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """In a callback write() takes the chunk and says True; Node has heard from the kernel.

    Two writes are two questions there, and one here: Node may fail where here nothing does. An
    empty write is a question there, and none here.
    """
    place = first_difference(theirs, ours)
    if place >= min(len(theirs), len(ours)):
        return None
    failed = any(map(FAILED_WRITE.search, theirs[place:]))
    if failed and theirs[place] == "c pause":
        # pipe(), which has the same answer.
        return theirs[:place], ours[:place]
    if (
        failed
        and [theirs[place][-5:], ours[place][-4:]] == ["False", "True"]
        and ".write " in theirs[place]
    ):
        asked = theirs[place] + " (asked at once)"
        return [*theirs[:place], asked, *theirs[place + 1 :]], [
            *ours[:place],
            asked,
            *ours[place + 1 :],
        ]
    if FAILED_WRITE.search(theirs[place]) and "(asked at once)" in "".join(theirs[:place]):
        return theirs[:place], ours[:place]
    if "<Error EPIPE write:" in theirs[place] and any(".write " in x for x in theirs[:place]):
        return theirs[:place], ours[:place]
    return None


@deviation
def failed_text_counts(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """Node's bytesWritten has no short text whose write fails at once."""
    place = first_difference(theirs, ours)
    if any(map(FAILED_WRITE.search, theirs[: place + 1])):
        less = [[_without_count(line) for line in trace] for trace in (theirs, ours)]
        if less[0][place : place + 1] == less[1][place : place + 1]:
            return less[0], less[1]
    return None


def _without_count(line: str) -> str:
    line = re.sub(r" c\.bytes_written \d+", "", line)
    return line.rpartition(" ")[0] if line.startswith("c left") else line


@deviation
def nothing_is_read_after_destroy(theirs: Trace, ours: Trace) -> tuple[Trace, Trace] | None:
    """read() of a destroyed socket gives what is buffered in Node."""
    place = first_difference(theirs, ours)
    if (
        0 < place < len(ours)
        and ours[place].endswith("c.read None")
        and ours[place - 1].endswith("c.destroyed True")
    ):
        return theirs[:place], ours[:place]
    if place < min(len(theirs), len(ours)) and "c.destroyed True" in ours[place]:
        one, other = (
            re.sub(r" c\.readable_(length|did_read) \S+", "", trace[place])
            for trace in (theirs, ours)
        )
        if one == other:
            # Nobody heard of it: there was no 'data' listener.
            return theirs, [*ours[:place], theirs[place], *ours[place + 1 :]]
    if (
        place < len(theirs)
        and re.match(r"c (data |cb \w+ [^<])", theirs[place])
        and "c.destroyed True" in ours[-2]
        and not any(re.match("c (data|end|readable)", line) for line in ours[place:])
    ):
        return theirs[:place], ours[:place]
    return None


def _cut(theirs: Trace, ours: Trace, at: Callable[[str], bool]) -> tuple[Trace, Trace] | None:
    """Both traces up to a line of Node's, from which on they need not be the same."""
    place = first_difference(theirs, ours)
    for number, line in enumerate(theirs[: place + 1]):
        if at(line):
            return theirs[:number], ours[:number]
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


# ---- Shortening them -----------------------------------------------------------------------------


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
        if len(action) > 4 and action[2] not in ("on", "once"):
            actions.append(action[:-1])
        if len(action) > 3 and action[3] != data("ab") and action[2] in ("write", "end"):
            actions.append([*action[:3], data("ab"), *action[4:]])
        for less in [(each, action) for each in moments] + [(moment, each) for each in actions]:
            yield made | {"steps": [*steps[:number], less, *steps[number + 1 :]]}
    if made["peer"] not in ("echo", "hang"):
        yield made | {"peer": "hang"}
        yield made | {"peer": "echo"}


def shrink(made: list[dict[str, Any]], most: int = 40) -> list[dict[str, Any]]:
    """The shortest scripts found that still differ, one for each."""
    made = list(made)
    left = list(range(len(made)))
    for _ in range(most):
        tried = [(number, less) for number in left for less in shorter(made[number])]
        left = []
        for (number, less), (theirs, ours) in zip(
            tried, play_both([less for _, less in tried]), strict=True
        ):
            if number not in left and not same(theirs, ours):
                made[number] = less
                left.append(number)
        if not left:
            break
    return made


def differ_for_good(made: list[dict[str, Any]], times: int = 5) -> list[dict[str, Any]]:
    """Those of which the traces of Node and ours have nothing in common, played so often."""
    pairs = play_both([each for each in made for _ in range(times)])
    differ = []
    for number, each in enumerate(made):
        own = pairs[number * times : (number + 1) * times]
        if not any(same(theirs, ours) for theirs, _ in own for _, ours in own):
            differ.append(each)
    return differ


def signature(theirs: Trace, ours: Trace) -> str:
    """What the first difference looks like, to tell one kind from another."""
    theirs, ours, _ = compare(theirs, ours)
    place = first_difference(theirs, ours)
    one = theirs[place] if place < len(theirs) else "nothing"
    other = ours[place] if place < len(ours) else "nothing"
    one, other = _where_they_differ(one, other)
    return re.sub(r"\d+", "N", f"{one[:90]} | {other[:90]}")


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
        if number > place + 6:
            lines.append("    ...")
            break
        if one == other:
            lines.append(f"    {one.partition(' c.')[0] if one.count(' c.') > 4 else one}")
        else:
            one, other = _where_they_differ(one, other)
            lines.append(f"  ! {one}\n        ours: {other}")
    return "\n".join(lines)


def _where_they_differ(one: str, other: str) -> tuple[str, str]:
    """Of two lines with the same properties, those that have other values."""
    ones, others = one.split(" c."), other.split(" c.")
    if len(ones) != len(others) or len(ones) < 3:
        return one, other
    pairs = [pair for pair in zip(ones, others, strict=True) if pair[0] != pair[1]]
    return " c.".join(["", *(a for a, _ in pairs)]), " c.".join(["", *(b for _, b in pairs)])


def kinds_shown(kinds: dict[str, list[dict[str, Any]]]) -> str:
    return f"{sum(map(len, kinds.values()))} of {len(kinds)} kinds"


def _size(made: dict[str, Any]) -> int:
    return len(json.dumps(made))


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
    kinds: dict[str, list[dict[str, Any]]] = {}
    total = chance = 0
    for start in range(0, given.scripts, given.batch):
        numbers = range(start, min(start + given.batch, given.scripts))
        batch = [generate(random.Random(f"{given.seed} {number}")) for number in numbers]
        differ: dict[int, str] = {}
        for number, (theirs, ours) in enumerate(play_both(batch)):
            total += 1
            calls.update(action[2] for _, action in batch[number]["steps"])
            known.update(set(compare(theirs, ours)[2]))
            if not same(theirs, ours):
                differ[number] = signature(theirs, ours)
        for_good = differ_for_good([batch[number] for number in differ])
        chance += len(differ) - len(for_good)
        for number, kind in differ.items():
            if batch[number] in for_good:
                kinds.setdefault(kind, []).append(batch[number])
        print(f"{total} scripts: {kinds_shown(kinds)}", file=sys.stderr, flush=True)
    examples = sorted(kinds.values(), key=len, reverse=True)[: given.show]
    for each, made in zip(examples, shrink([min(e, key=_size) for e in examples]), strict=True):
        print(f"{len(each)} times:\n{explain(made)}\n", flush=True)
    print(f"{total} scripts, {sum(calls.values())} calls, in {time.monotonic() - started:.0f} s")
    print(f"calls: {', '.join(f'{name} {count}' for name, count in calls.most_common())}")
    print(f"documented: {', '.join(f'{name} {count}' for name, count in known.most_common())}")
    print(f"by chance (the same when played again): {chance}")
    print(f"undocumented differences: {kinds_shown(kinds)}")
    return 1 if kinds else 0


if __name__ == "__main__":
    raise SystemExit(main())
