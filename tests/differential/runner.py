"""Plays a scenario (JSON on stdin, see scenarios.py) on pyuvnet; prints the trace as JSON.

The twin of runner.js, line by line.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pyuvnet
from pyuvnet import net

EVENTS = [
    "listening", "lookup", "connectionAttempt", "connectionAttemptFailed", "connect",
    "ready", "data", "end", "finish", "drain", "timeout", "error", "close", "pause",
    "resume", "drop",
]  # fmt: skip
STATE = ["ready_state", "destroyed", "writable_length", "bytes_read", "bytes_written"]


class Player:
    def __init__(self, scenario: dict[str, Any]) -> None:
        self.scenario = scenario
        self.objects: dict[str, Any] = {}
        self.ports: dict[str, int] = {}
        self.trace: list[tuple[str, str]] = []
        self.accepted = 0
        self.controller = pyuvnet.AbortController()

    def show(self, value: Any) -> str:
        if isinstance(value, BaseException):
            code = getattr(value, "code", None) or value.args[0]
            syscall = getattr(value, "syscall", None)
            return f"{code}/{syscall}" if syscall else str(code)
        if isinstance(value, bytes):
            return value.decode("latin1")
        for name, port in self.ports.items():
            if value == port and not isinstance(value, bool):
                return f"port({name})"
        return "object" if isinstance(value, dict) else str(value)

    def note(self, name: str, entry: str) -> None:
        self.trace.append((name, entry))

    def argument(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            if "cb" in value:

                def callback(*args: Any) -> None:
                    self.note(
                        name, " ".join(["cb " + value["cb"], *map(self.show, filter(None, args))])
                    )
                    self.run(name, value.get("then", []))

                return callback
            if "error" in value:
                return RuntimeError(value["error"])
            if "repeat" in value:
                return value["repeat"][0].encode() * value["repeat"][1]
            if "options" in value:
                return value["options"]
            if "port" in value:
                return self.ports[value["port"]]
        return value

    def watch(self, name: str, thing: Any) -> None:
        self.objects[name] = thing
        counts: dict[str, int] = {}
        silent = self.scenario.get("silent", {}).get(name, [])

        def listener(event: str) -> Any:
            def heard(*args: Any) -> None:
                counts[event] = counts.get(event, 0) + 1
                self.note(name, " ".join([event, *map(self.show, args)]))
                self.react(name, event, counts[event])

            return heard

        for event in EVENTS:
            if event not in silent:
                thing.on(event, listener(event))

    def react(self, name: str, event: str, count: int) -> None:
        on = self.scenario.get("on", {})
        self.run(name, on.get(f"{name}.{event}", []))
        self.run(name, on.get(f"{name}.{event}#{count}", []))

    def run(self, me: str, actions: list[Any]) -> None:
        for verb, *args in actions:
            getattr(self, "do_" + verb)(me, *args)

    def do_call(self, me: str, name: str, method: str, *rest: Any) -> None:
        if name not in self.objects:
            self.note(me, "missing " + name)
            return
        thing = self.objects[name]
        try:
            result = getattr(thing, method)(*[self.argument(name, value) for value in rest])
        except Exception as error:
            self.note(me, f"{name}.{method} raised {self.show(error)}")
            return
        if isinstance(result, bool):
            self.note(me, f"{name}.{method} {result}")
        elif result is not thing:
            self.note(me, f"{name}.{method} other")

    def do_probe(self, me: str, name: str, *properties: str) -> None:
        if name not in self.objects:
            self.note(me, "missing " + name)
            return
        thing = self.objects[name]
        self.note(me, " ".join(f"{name}.{p} {self.show(getattr(thing, p))}" for p in properties))

    def do_server(self, me: str, name: str, options: Any = None) -> None:
        server = net.create_server(options or {})
        self.watch(name, server)

        def connection(socket: net.Socket) -> None:
            self.accepted += 1
            child = f"s{self.accepted}"
            self.note(name, "connection")
            self.watch(child, socket)
            self.run(child, self.scenario.get("on", {}).get(f"{name}.connection", []))
            self.react(child, "accepted", 1)

        server.on("connection", connection)

    def do_listen(self, me: str, name: str, other: Any = None, signal: Any = None) -> None:
        # On the port of another server, if one is named; with the signal of `abort` or aborted.
        server = self.objects[name]
        options: dict[str, Any] = {"port": self.ports[other] if other else 0, "host": "127.0.0.1"}
        if signal:
            aborted = signal == "aborted"
            options["signal"] = pyuvnet.AbortSignal.abort() if aborted else self.controller.signal

        def listening() -> None:
            self.ports[name] = server.address()["port"]

        server.prepend_once_listener("listening", listening)
        server.listen(options)

    def do_abort(self, me: str) -> None:
        self.controller.abort()

    def do_set(self, me: str, name: str, attribute: str, value: Any) -> None:
        setattr(self.objects[name], attribute, value)

    def do_socket(self, me: str, name: str, options: Any = None) -> None:
        self.watch(name, net.Socket(options or {}))

    def do_connect(self, me: str, name: str, server: str, options: Any = None) -> None:
        self.objects[name].connect(
            {"port": self.ports[server], "host": "127.0.0.1"} | (options or {})
        )

    def do_refuse(self, me: str, name: str) -> None:
        self.objects[name].connect({"port": 1, "host": "127.0.0.1"})

    def do_tick(self, me: str, label: str, then: Any = ()) -> None:
        pyuvnet.next_tick(lambda: (self.note(me, "tick " + label), self.run(me, then)))

    def do_immediate(self, me: str, label: str, then: Any = ()) -> None:
        pyuvnet.set_immediate(lambda: (self.note(me, "immediate " + label), self.run(me, then)))

    def do_timer(self, me: str, ms: int, label: str, then: Any = ()) -> None:
        pyuvnet.set_timeout(lambda: (self.note(me, "timer " + label), self.run(me, then)), ms)

    def do_throw(self, me: str, text: str) -> None:
        raise RuntimeError(text)

    def finish(self) -> None:
        for name, thing in list(self.objects.items()):
            if isinstance(thing, net.Socket):
                state = " ".join(self.show(getattr(thing, p)) for p in STATE)
                self.note(name, "left " + state)
                thing.destroy()
            else:
                self.note(name, f"left {thing.listening}")
                thing.close()

    def play(self) -> list[tuple[str, str]]:
        pyuvnet.set_exception_handler(lambda exc: self.note("-", "uncaught " + self.show(exc)))
        timer = pyuvnet.set_timeout(self.finish, self.scenario.get("end", 400))
        if "end" not in self.scenario:
            timer.unref()
        self.run("-", self.scenario["start"])
        pyuvnet.run()
        return self.trace


if __name__ == "__main__":
    sys.stdout.write(json.dumps(Player(json.load(sys.stdin)).play()))
