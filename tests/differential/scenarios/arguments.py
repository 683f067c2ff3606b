"""Arguments of Socket(), connect() and the methods of sockets: codes and texts of their errors.

Those of Server(), listen() and BoundSocket() are in test_arguments.py.
"""

from tests.support.scripts import call, odd, probe

JUNK = [None, True, -1, 1.5, 70000, "", "x", odd("nan"), odd("inf"), {}, [], odd("function")]
NUMBERS = [True, "1", -1, 1.5, 256, odd("nan"), odd("inf"), {}, [], odd("function")]
ONE = {"port": 1, "host": "127.0.0.1"}
NAMED = {"port": 1, "host": "localhost"}
LOCAL = probe("c", "connecting", "destroyed", "pending")


def named(what, arguments):
    return f"{what}({', '.join(shown(each) for each in arguments)})"


def shown(value):
    if isinstance(value, dict) and "$" in value:
        return value.get("name") or value["$"]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(each)}" for key, each in value.items()) + "}"
    return repr(value)


def made(*arguments, **more):
    return {
        named("Socket", arguments): {
            "start": [["socket", "c", *arguments]],
            # 'resume' and the like are not the matter here.
            **more,
        }
    }


def called(method, *arguments, **more):
    return {
        named(method, arguments): {
            "start": [["socket", "c"], call("c", method, *arguments), LOCAL, call("c", "destroy")],
            **more,
        }
    }


def created(*arguments, **more):
    return {
        named("create_connection", arguments): {
            "start": [["create", "c", *arguments]],
            **more,
        }
    }


SCENARIOS = {}
for table in [
    *[made({"high_water_mark": value}) for value in NUMBERS],
    *[made({"readable_high_water_mark": value}) for value in (-1, "x")],
    *[made({"writable_high_water_mark": value}) for value in (1.5, {})],
    *[made({"keep_alive_initial_delay": value}) for value in ("1", True, {}, -5, 1999)],
    *[made({name: True}) for name in ("object_mode", "readable_object_mode")],
    *[made({"fd": value}) for value in (-1, 1.5, "1", True, {}, odd("nan"), 2**31)],
    *[made({"signal": value}) for value in (5, "x", {}, True)],
    *[made({"block_list": value}, since=24) for value in (5, {}, "x")],
    *[made({"type_of_service": value}, since=26) for value in NUMBERS],
    *[
        # Node's connect() has changed the socket already; this makes none if it raises.
        created(*arguments)
        for arguments in [
            [],
            [{}],
            [{"host": "127.0.0.1"}],
            [-1],
            [65536],
            [1.5],
            ["-1x"],
            [""],
            [" "],
            [odd("nan")],
            [True],
            *[[{"port": value}] for value in (-1, 65536, 1.5, "x", "", " ", "0x", True, {}, [])],
            *[[{"path": value}] for value in (5, True, {}, [])],
            *[[NAMED | {"family": value}] for value in (5, "x", "4", True, 6.5)],
            *[[NAMED | {"hints": value}] for value in (999999, "x", -1, 1.5, True, odd("nan"))],
            *[[NAMED | {"lookup": value}] for value in (5, "x", {}, True)],
            *[[ONE | {"local_address": value}] for value in ("x", 5, "localhost", "1.2.3", True)],
            *[[ONE | {"local_port": value}] for value in ("1", True, {})],
            *[[NAMED | {"auto_select_family": value}] for value in (1, "x", {})],
            *[
                [NAMED | {"auto_select_family_attempt_timeout": value}]
                for value in (0, -1, 1.5, "x", True, 2**31)
            ],
        ]
    ],
    # Older Nodes named it otherwise, and looked up anything.
    *[created({"port": 1, "host": value}, since=24) for value in (5, True, {}, [], "a\0b")],
    *[called("set_timeout", value) for value in [*JUNK[:3], *JUNK[4:]]],
    *[called("set_timeout", 5, value) for value in (5, "x", {})],
    *[called("set_type_of_service", value, since=26) for value in [None, *NUMBERS]],
    *[called("write", value) for value in (5, True, {}, [], odd("null"), odd("function"))],
    *[called("write", "x", value) for value in ("klingon", "")],
    *[called("end", value) for value in (5, True, {}, [])],
    *[called("set_encoding", value) for value in ("klingon", "utf-16", "UTF8")],
    *[called("set_default_encoding", value) for value in ("klingon", "UTF8")],
    *[called("on", "data", value) for value in (5, "x", {})],
    *[called("off", "data", value) for value in (5, "x", {})],
    *[called("set_max_listeners", value) for value in (-1, "5", True, {}, odd("nan"))],
    *[called("set_keep_alive", True, value) for value in ("x", -1, odd("nan"), {})],
    *[called("set_no_delay", value) for value in ("x", 0, {})],
]:
    SCENARIOS.update(table)
for setter, values in {
    "set_default_auto_select_family": (1, "x", None, {}),
    "set_default_auto_select_family_attempt_timeout": NUMBERS[:4] + NUMBERS[5:],
}.items():
    for value in values:
        SCENARIOS[named(setter, [value])] = {"start": [call("net", setter, value)]}
SCENARIOS["is_ip() of everything"] = {
    "start": [
        call("net", name, value)
        for name in ("isIP", "isIPv4", "isIPv6")
        for value in [
            *JUNK,
            *("1.2.3.4", "01.2.3.4", "1.2.3", "256.1.1.1", "::", "::1%eth0", "fe80::1%", "[::1]"),
            *("::ffff:1.2.3.4", "1:2:3:4:5:6:7::", "::1/64", " ::1", "1.2.3.4\n"),
        ]
    ]
}
