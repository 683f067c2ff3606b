"""Plays one script on pyuvnet.cluster: the twin of runner.js, action by action.

This file is the program of the primary and of every worker; scripts.py says what a script is.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from pyuvnet import cluster, net, next_tick, run, set_timeout

folder = os.environ["CLUSTER_FOLDER"]
script = json.loads(Path(folder, "script.json").read_text())
own = "P" if cluster.is_primary else f"W{cluster.worker.id}"
trace = os.open(os.path.join(folder, own), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
things: dict[str, Any] = {}
ports: dict[str, int] = {}
counts: dict[str, int] = {}
workers: dict[int, Any] = {}


def text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def note(thing: str, *entry: Any) -> None:
    os.write(trace, (json.dumps([thing, " ".join(map(text, entry))]) + "\n").encode())


def show(value: Any) -> str:
    if isinstance(value, BaseException):
        said = re.sub(r":\d{4,5}\b", ":PORT", getattr(value, "message", str(value)))
        said = said.replace(folder, "FOLDER")
        code = getattr(value, "code", None) or type(value).__name__
        return f"{code} {getattr(value, 'syscall', '') or ''} {said}"
    if value is None:
        return "none"
    if isinstance(value, net.Socket):
        return "a socket"
    if isinstance(value, net.Server):
        return "a server"
    if isinstance(value, dict) and "addressType" in value:
        port = "a port" if (value["port"] or 0) > 0 else value["port"]
        address = value["address"]
        address = os.path.basename(address) if isinstance(address, str) else "none"
        shown = text(port) if not isinstance(port, str) else f'"{port}"'
        return f"{text(value['addressType'])} {address} {shown} {text(value['fd'])}"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def seen(thing: str, event: str, key: str, *values: Any) -> None:
    note(thing, event, *map(show, values))
    act(key)


def act(key: str) -> None:
    counts[key] = counts.get(key, 0) + 1
    mine = script["primary"] if cluster.is_primary else script.get(own, script.get("worker", {}))
    for action in mine.get(f"{key} #{counts[key]}", []) + mine.get(key, []):
        perform(*action)


def perform(name: str, *args: Any) -> None:
    if name == "raise now":
        raise RuntimeError("on purpose")
    try:
        getattr(Actions, name.replace(" ", "_"))(*args)
    except Exception as error:
        note("-", "raised", show(error).split(" ")[0])


def place(options: dict[str, Any]) -> dict[str, Any]:
    given = dict(options)
    if isinstance(given.get("port"), str):
        given["port"] = ports[given["port"]]
    if given.get("path"):
        given["path"] = os.path.join(folder, given["path"])
    return given


def worker_of(number: int) -> Any:
    return workers[number] if cluster.is_primary else cluster.worker


class Actions:
    @staticmethod
    def note(said: str) -> None:
        note("-", said)

    @staticmethod
    def act(key: str) -> None:
        act(key)

    @staticmethod
    def later(key: str, ms: int) -> None:
        set_timeout(act, ms, key)

    @staticmethod
    def fork(env: dict[str, str] | None = None) -> None:
        worker = cluster.fork(env)
        workers[worker.id] = worker
        for event in ("online", "listening", "message", "disconnect", "exit", "error"):
            worker.on(
                event,
                lambda *values, event=event: seen(
                    f"W{worker.id}", event, f"worker {event}", *values
                ),
            )

    @staticmethod
    def setup(settings: dict[str, Any]) -> None:
        cluster.setup_primary(settings)

    @staticmethod
    def policy(name: str) -> None:
        cluster.scheduling_policy = getattr(cluster, name)

    @staticmethod
    def disconnect(number: int = 0) -> None:
        worker_of(number).disconnect()

    @staticmethod
    def disconnect_all(key: str) -> None:
        cluster.disconnect(lambda: seen("-", "all disconnected", key))

    @staticmethod
    def kill(number: int = 0, signal: str | None = None) -> None:
        worker_of(number).kill(*[signal] if signal else [])

    @staticmethod
    def kill_process(number: int, signal: str) -> None:
        workers[number].process.kill(signal)

    @staticmethod
    def send(number: int, message: Any) -> None:
        worker_of(number).send(message)

    @staticmethod
    def send_and_note(number: int, message: Any) -> None:
        worker_of(number).send(message, lambda error: seen("-", "sent", "sent", error))

    @staticmethod
    def send_undefined(number: int) -> None:
        # What JSON has no text for.
        worker_of(number).send(object())

    @staticmethod
    def state(number: int = 0) -> None:
        worker = worker_of(number)
        listed = ",".join(map(str, cluster.workers)) if cluster.is_primary else "none"
        note("-", "state", worker.is_connected(), worker.is_dead(),
             worker.exited_after_disconnect, listed)  # fmt: skip

    @staticmethod
    def what() -> None:
        worker = cluster.worker
        note("-", "what", cluster.is_primary, cluster.is_worker, worker is not None,
             worker.id if worker else "none", cluster.workers is not None)  # fmt: skip

    @staticmethod
    def settings(name: str) -> None:
        note("-", "settings", json.dumps(cluster.settings[name], separators=(",", ":")))

    @staticmethod
    def env(name: str) -> None:
        note("-", "env", os.environ.get(name, "none"))

    @staticmethod
    def arguments() -> None:
        note("-", "arguments", " ".join(sys.argv[1:]))

    @staticmethod
    def listen(name: str, options: dict[str, Any]) -> None:
        def connected(socket: net.Socket) -> None:
            socket.on("error", lambda error: None)
            socket.end(f"{name} of {own}")
            act(f"{name} connection")

        def on(event: str, *values: Any) -> None:
            if event == "listening" and isinstance(server.address(), dict):
                ports[name] = server.address().port
            seen(name, event, f"{name} {event}", *values)

        server = things[name] = net.create_server(connected)
        for event in ("listening", "close", "error"):
            server.on(event, lambda *values, event=event: on(event, *values))
        server.listen(place(options))

    @staticmethod
    def listen_again(name: str, port: str) -> None:
        things[name].listen(ports[port])

    @staticmethod
    def close(name: str) -> None:
        things[name].close(lambda error: note(name, "closed"))

    @staticmethod
    def address(name: str) -> None:
        found = things[name].address()
        shown = os.path.basename(found) if isinstance(found, str) else found and found["family"]
        note("-", "address", shown or "null", things[name].listening)

    @staticmethod
    def tell_port(name: str) -> None:
        cluster.worker.send({"port": ports[name]})

    @staticmethod
    def ask(times: int, then: str) -> None:
        answers: list[str] = []

        def one() -> None:
            client = net.connect(ports["told"], "127.0.0.1")
            client.on("error", lambda error: answers.append(error.code))
            client.on("data", lambda data: answers.append(data.decode()))
            client.on("close", over)

        def over(had_error: bool) -> None:
            nonlocal times
            times -= 1
            if times:
                one()
                return
            note("-", "answers", " ".join(sorted(answers)))
            act(then)

        one()

    @staticmethod
    def ask_path(name: str, then: str) -> None:
        client = net.connect(os.path.join(folder, name))
        client.on("error", lambda error: note("-", "answer", error.code))
        client.on("data", lambda data: note("-", "answer", data.decode()))
        client.on("close", lambda had_error: act(then))

    @staticmethod
    def exists(name: str) -> None:
        note("-", "exists", os.path.exists(os.path.join(folder, name)))

    @staticmethod
    def hold(name: str, then: str) -> None:
        def listening() -> None:
            ports[name] = server.address().port
            Path(folder, "port").write_text(str(ports[name]))
            act(then)

        server = things[name] = net.create_server()
        server.listen({"port": 0, "exclusive": True}, listening)

    @staticmethod
    def know_port(name: str) -> None:
        ports[name] = int(Path(folder, "port").read_text())

    @staticmethod
    def same_port(name: str) -> None:
        file = Path(folder, "same")
        if file.exists():
            note("-", "the same port", file.read_text() == str(ports[name]))
        else:
            file.write_text(str(ports[name]))

    @staticmethod
    def pass_sockets(number: int, message: Any, then: str) -> None:
        def connected(socket: net.Socket) -> None:
            note("-", "passed", workers[number].send(message, socket))

        def listening() -> None:
            ports["told"] = server.address().port
            act(then)

        server = things["front"] = net.create_server({"pauseOnConnect": True}, connected)
        server.listen({"port": 0, "host": "127.0.0.1"}, listening)

    @staticmethod
    def pass_server(number: int, message: Any) -> None:
        def listening() -> None:
            ports["told"] = server.address().port
            workers[number].send(message, server, lambda error: server.close())

        server = things["front"] = net.create_server().listen(0, "127.0.0.1", listening)

    @staticmethod
    def attend() -> None:
        def attended(message: Any, handle: Any) -> None:
            if isinstance(handle, net.Socket):
                handle.end(f"passed to {own}")
            elif handle is not None:
                things["given"] = handle
                handle.on("connection", lambda socket: socket.end(f"given to {own}"))
                cluster.worker.send("attends")

        cluster.worker.on("message", attended)

    @staticmethod
    def exit(code: int) -> None:
        sys.exit(code)

    @staticmethod
    def die(signal: str) -> None:
        cluster.worker.process.kill(signal)

    @staticmethod
    def _raise() -> None:
        def throw() -> None:
            raise RuntimeError("on purpose")

        next_tick(throw)


setattr(Actions, "raise", Actions._raise)


def too_late() -> None:
    note("-", "timed out")
    os._exit(9)


set_timeout(too_late, 8000).unref()


def cluster_event(event: str, worker: Any, *values: Any) -> None:
    if event == "setup":
        seen("-", "setup", "setup")
        return
    if event == "listening" and (values[0].port or 0) > 0:
        ports["told"] = values[0].port
    if event == "message" and isinstance(values[0], dict) and values[0].get("port"):
        ports["told"] = values[0]["port"]
        values = ("a port",)
    seen(f"W{worker.id}", f"cluster {event}", f"{event} {worker.id}", *values)
    act(event)


code = 0
if cluster.is_primary:
    for each in ("setup", "fork", "online", "listening", "message", "disconnect", "exit"):
        cluster.on(each, lambda *values, each=each: cluster_event(each, *values))
else:
    cluster.worker.on(
        "message", lambda message, handle: seen("-", "message", "message", message, handle)
    )
    cluster.worker.on("disconnect", lambda: seen("-", "disconnect", "disconnect"))
    cluster.worker.on("error", lambda error: seen("-", "error", "error", error))
    atexit.register(lambda: note("-", "exit", code))
try:
    act("start")
    run()
except SystemExit as stop:
    code = stop.code or 0  # type: ignore[assignment]
    raise
except BaseException:
    code = 1
    raise
