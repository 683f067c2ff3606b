"""The scripts of net over TLS: every object sees what it sees without.

They are played on pyuvnet twice. With TLS the runner makes TLS servers and sockets, and takes
'secureConnect' and 'secureConnection' for 'connect' and 'connection'. What reads no connection of
ours (descriptors, hosts and peers of the system) has no TLS.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest

from tests.support import play

from .test_differential import SUBJECTS

GONE = "the server never has the last message of the handshake, since the client goes before it"
QUEUED = "what 'secureConnect' writes waits until the client's last message has left"
EARLIER = "the handshake reads before the program says that it wants to, or does not"
RECORD = "what is decrypted together is handed on together, as Node does"
BEFORE = "what waited for the connection leaves after 'secureConnect' of a client, not in 'connect'"
ORDER = "clients are connected a round trip before the server has their connections"
DROPPED = "a client that the server drops has no handshake, and so an error"
OTHERWISE = {
    "closing": {"reset while connecting": GONE},
    "connections": {
        "write() before connect": BEFORE,
        "cork, write and uncork before connect": BEFORE,
        "destroyed by a 'connect' listener with a write waiting": GONE,
        "destroy(error) in 'connect'": GONE,
        "destroy() after writing": GONE,
        "destroy() with a write in flight": EARLIER,
        "destroy(error) with a write in flight": EARLIER,
        "write after end": GONE,
        "end(data) after end()": GONE,
        "write() and end() after destroy()": GONE,
        "connect() of a connected socket": GONE,
        "a broadcast to many": ORDER,
    },
    "failing": {"an 'error' listener fails": GONE, "nobody listens to 'error'": GONE},
    "lifetime": {"both paused before they read": EARLIER, "paused, with a timeout set": EARLIER},
    "pipes": {"the destination was never connected": ORDER},
    "reading": {
        "paused in 'connect'": EARLIER,
        "pause() and resume() in one turn": EARLIER,
        "onread says False": RECORD,
        "a connection that is not readable": ORDER,
    },
    "servers": {
        "max_connections of 1": DROPPED,
        "max_connections of 0": DROPPED,
        "max_connections raised meanwhile": DROPPED,
        "max_connections over IPC": DROPPED,
        "a peer that is blocked": DROPPED,
        "pause_on_connect": EARLIER,
    },
    "signals": {"abort in 'connect'": GONE},
    "states": {"a write in flight that fails": EARLIER},
    "writing": {
        "a small write is taken at once whatever the mark": QUEUED,
        "the mark before connecting": BEFORE,
        "writes and cork in one callback": QUEUED,
        "corked twice, uncorked by end()": QUEUED,
        "corked and destroyed": GONE,
        "destroyed by a 'drain' listener": BEFORE,
        "a peer that is gone": GONE,
    },
}  # fmt: skip
WITHOUT = ('"peer"', '"bound"', '"tls_')


def fits(subject: str, name: str, script: dict[str, Any]) -> bool:
    text = json.dumps(script)
    return (
        not script.get("needs")
        and not any(verb in text for verb in WITHOUT)
        and name not in OTHERWISE.get(subject, {})
        and play.plays_here(script)
    )


PLAYED = {
    subject: {name: script for name, script in scripts.items() if fits(subject, name, script)}
    for subject, scripts in SUBJECTS.items()
    if subject not in ("arguments", "ipc", "tls")
}
CASES = [(subject, name) for subject, scripts in PLAYED.items() for name in scripts]


@functools.cache
def traces(subject: str) -> dict[str, tuple[play.Traces, play.Traces]]:
    scripts = PLAYED[subject]
    plain = play.play_on_pyuvnet(list(scripts.values()))
    secure = play.play_on_pyuvnet([script | {"over_tls": True} for script in scripts.values()])
    return dict(zip(scripts, zip(plain, secure, strict=True), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("subject", "name"), CASES, ids=[f"{s}: {n}" for s, n in CASES])
def test_every_object_sees_over_tls_what_it_sees_without(subject: str, name: str) -> None:
    plain, secure = traces(subject)[name]
    assert secure == plain


def test_most_scripts_are_played() -> None:
    assert len(CASES) >= 190
    for subject, names in OTHERWISE.items():
        assert set(names) <= set(SUBJECTS[subject])
