"""Scripts for primaries and workers, played on Node's cluster and on ours.

A script is a mapping: what the "primary" does, and each "worker", or "W1", "W2" for one of its own.
What it does is a list of actions for each key: "start" when the program begins; in the primary the
events of the cluster, as "online" for any worker, "online 1" for the first, "online #2" for the
second time; "worker online" for the same event of a worker; in a worker "message", "disconnect" and
those of its servers, "s listening". Every event is in the trace of its process anyway.

"deviation" is [id, {process: {thing: [entries of ours]}}], where ours differs on purpose. "chance"
lists what Node itself sees in another order from time to time.
"""

from __future__ import annotations

from typing import Any

ONE = [["fork"]]
TWO = [["fork"], ["fork"]]
LISTEN = {"start": [["listen", "s", {"port": 0}]]}
LEAVE = [["disconnect", 1]]

SCRIPTS: dict[str, dict[str, Any]] = {
    # ---- Life and death ----
    "a worker that is disconnected by the primary": {
        "primary": {
            "start": [["what"], *ONE, ["state", 1]],
            "online": [["state", 1], ["disconnect", 1], ["state", 1]],
            "disconnect": [["state", 1]],
            "exit": [["state", 1]],
        },
        "worker": {"start": [["what"], ["state"]], "disconnect": [["state"]]},
    },
    "a worker that disconnects itself": {
        "primary": {"start": ONE, "exit": [["state", 1]], "disconnect": [["state", 1]]},
        "worker": {"start": [["disconnect"], ["state"]], "disconnect": [["state"]]},
    },
    "a worker that disconnects twice": {
        "primary": {"start": ONE, "exit": [["state", 1]]},
        "worker": {"start": [["disconnect"], ["disconnect"]]},
    },
    "a worker that kills itself exits with code 0": {
        "primary": {"start": ONE, "exit": [["state", 1]]},
        "worker": {"start": [["kill"], ["kill"], ["state"]]},
    },
    "a worker that exits with a code": {
        "primary": {"start": ONE, "exit": [["state", 1]]},
        "worker": {"start": [["exit", 7]]},
    },
    "a worker that exits with code 0": {
        "primary": {"start": ONE, "exit": [["state", 1]]},
        "worker": {"start": [["exit", 0]]},
    },
    "a worker that raises": {
        "primary": {"start": ONE, "exit": [["state", 1]]},
        "worker": {"start": [["raise"]]},
    },
    "a worker that is killed": {
        "primary": {
            "start": ONE,
            "online": [["kill", 1, "SIGKILL"], ["state", 1]],
            "exit": [["state", 1], ["kill", 1]],
        },
    },
    "a worker that is killed without a signal's name": {
        "primary": {"start": ONE, "online": [["kill", 1]], "exit": [["state", 1]]},
    },
    "a process that is killed": {
        "primary": {"start": ONE, "online": [["kill process", 1, "SIGUSR2"]]},
    },
    "an unknown signal": {
        "primary": {
            "start": ONE,
            "online": [["kill process", 1, "SIGNONE"], ["disconnect", 1]],
        },
    },
    "a worker that dies by a signal of its own": {
        "primary": {"start": ONE},
        "worker": {"start": [["die", "SIGKILL"]]},
    },
    "two workers, one of which is killed while the other goes on": {
        "primary": {
            "start": TWO,
            "online #2": [["kill", 1, "SIGKILL"]],
            "exit 1": [["state", 2], ["disconnect", 2]],
            "exit 2": [["state", 2]],
        },
    },
    "a worker in place of one that died": {
        "primary": {
            "start": ONE,
            "online 1": [["kill", 1, "SIGKILL"]],
            "exit 1": ONE,
            "online 2": [["state", 2], ["disconnect", 2]],
        },
    },
    "disconnect() of the cluster": {
        "primary": {
            "start": ONE,
            "online": [["disconnect all", "all"]],
            "all": [["note", "over"]],
        },
    },
    "disconnect() of a cluster with two workers": {
        "primary": {
            "start": TWO,
            "online #2": [["disconnect all", "all"]],
            "exit": [["note", "an exit"]],
            "disconnect": [["note", "a disconnect"]],
            "all": [["note", "over"]],
        },
        # Node's callback comes with the first that has ended; which of the two that is, is chance,
        # and so is how much of the other's end comes before.
        "chance": ["P -"],
        "deviation": [
            "D213",
            {
                "P": {
                    "-": [
                        *["setup", "setup"],
                        *["a disconnect", "a disconnect", "an exit", "an exit"],
                        *["all disconnected", "over"],
                        "exit code 0",
                    ]
                }
            },
        ],
    },
    "a server of the primary's own": {
        "primary": {
            "start": [["listen", "s", {"port": 0}]],
            "s listening": [["address", "s"], ["close", "s"]],
        },
    },
    # Whether the client or the primary notices first that a worker has gone is chance.
    "a worker that exits while it serves": {
        "primary": {"start": ONE, "listening": [["ask", 1, "asked"]]},
        "worker": {**LISTEN, "s connection": [["later", "leave", 30]], "leave": [["exit", 4]]},
    },
    "a worker that raises in its listener of 'connection'": {
        "primary": {"start": ONE, "listening": [["ask", 1, "asked"]]},
        "worker": {**LISTEN, "s connection": [["raise"]]},
    },
    "two servers of a worker, one of which is closed": {
        "primary": {
            "start": ONE,
            "listening #2": [["send", 1, "close"]],
            "message": [["ask", 1, "asked"]],
            "asked": LEAVE,
        },
        "worker": {
            "start": [["listen", "s", {"port": 0}], ["listen", "t", {"port": 0}]],
            "message": [["close", "s"]],
            "s close": [["send", 0, "closed"]],
        },
    },
    "disconnect() of a cluster without workers": {
        "primary": {"start": [["disconnect all", "all"], ["note", "first"]]},
    },
    "the primary exits, and the worker with it": {
        "primary": {"start": ONE, "message": [["exit", 0]]},
        "worker": {"start": [["send", 0, "here"]]},
    },
    "the primary exits without a word to two workers": {
        "primary": {"start": ONE, "listening #1": ONE, "listening #2": [["exit", 3]]},
        "worker": LISTEN,
    },
    "an exception in the listener of a worker's 'disconnect'": {
        "primary": {"start": ONE, "online": [["exit", 0]]},
        "worker": {"disconnect": [["raise now"]]},
    },
    "disconnect() after the worker has exited": {
        "primary": {"start": ONE, "exit": [["disconnect", 1], ["state", 1]]},
        "worker": {"start": [["exit", 0]]},
    },
    # ---- Settings ----
    "settings are announced": {
        "primary": {
            "start": [
                ["setup", {"args": ["one", "two"]}],
                ["settings", "args"],
                ["settings", "silent"],
                *ONE,
            ],
            "online": LEAVE,
        },
        "worker": {"start": [["arguments"]]},
    },
    "settings of several calls add up": {
        "primary": {
            "start": [
                ["setup", {"args": ["a"]}],
                ["setup", {"silent": True}],
                ["settings", "args"],
                ["settings", "silent"],
            ],
        },
    },
    "an environment for one worker": {
        "primary": {"start": [["fork", {"COLOUR": "blue"}], ["fork"]], "online": []},
        "worker": {"start": [["env", "COLOUR"], ["disconnect"]]},
    },
    "wrong settings": {
        "primary": {"start": [["setup", {"args": 5}], ["note", "after"]]},
        "deviation": [
            "D210",
            {"P": {"-": ["raised ERR_INVALID_ARG_TYPE", "after", "exit code 0"]}},
        ],
    },
    # ---- Messages ----
    "messages both ways, in order": {
        "primary": {
            "start": ONE,
            "online": [["send", 1, 1], ["send", 1, "two"], ["send", 1, {"three": [3, None, True]}]],
            "message #3": LEAVE,
        },
        "worker": {"message": [["send", 0, ["got it"]]]},
    },
    "a message before the worker is online": {
        "primary": {"start": [*ONE, ["send", 1, "early"]], "message": LEAVE},
        "worker": {"message": [["send", 0, "late"]]},
    },
    "a message with every kind of value": {
        "primary": {
            "start": [*ONE, ["send", 1, {"a": [1.5, -2, "ä\u2028😀", "", None, False, {}, []]}]],
            "message": LEAVE,
        },
        "worker": {"message": [["send", 0, 0]]},
    },
    "a large message": {
        "primary": {"start": [*ONE, ["send", 1, "x" * 300000]], "message": LEAVE},
        "worker": {"message": [["send", 0, "y" * 300000]]},
    },
    "callbacks of send()": {
        "primary": {"start": [*ONE, ["send and note", 1, 1]], "sent": LEAVE},
    },
    "send() to a worker that is gone, with a callback": {
        "primary": {"start": ONE, "exit": [["send and note", 1, 1]]},
        "worker": {"start": [["exit", 0]]},
    },
    "send() to a worker that is gone, without one": {
        "primary": {"start": ONE, "exit": [["send", 1, 1]]},
        "worker": {"start": [["exit", 0]]},
    },
    "what cannot be sent raises": {
        "primary": {"start": ONE, "online": [["send undefined", 1], ["disconnect", 1]]},
        "deviation": [
            "D211",
            {"P": {"-": ["setup", "raised ERR_INVALID_ARG_TYPE", "exit code 0"]}},
        ],
    },
    "a message right before exit()": {
        "primary": {"start": ONE, "online": [["send", 1, "go"]]},
        "worker": {"message": [["send", 0, "last"], ["exit", 3]]},
    },
    "messages that a worker sent last are heard before it is gone": {
        "primary": {"start": ONE},
        "worker": {
            "start": [["send", 0, 1], ["send", 0, 2], ["send", 0, 3], ["disconnect"]],
        },
    },
    # ---- Listening ----
    "a worker listens": {
        "primary": {"start": ONE, "listening": [["ask", 2, "asked"]], "asked": LEAVE},
        "worker": {**LISTEN, "s listening": [["address", "s"]]},
    },
    "two workers share port 0, in turn": {
        "primary": {
            "start": ONE,
            "listening #1": ONE,
            "listening #2": [["ask", 4, "asked"]],
            "asked": [["disconnect all", "all"]],
        },
        "worker": {**LISTEN, "s listening": [["same port", "s"]]},
    },
    "two workers share a descriptor": {
        "primary": {
            "start": [["policy", "SCHED_NONE"], *ONE],
            "listening #1": ONE,
            "listening #2": [["disconnect", 1]],
            "exit 1": [["ask", 3, "asked"]],
            "asked": [["disconnect", 2]],
        },
        "worker": {**LISTEN, "s listening": [["same port", "s"]]},
    },
    "two workers share a host and a port": {
        "primary": {
            "start": [["hold", "h", "held"]],
            "held": [["note", "known"], *ONE],
            "exit": [["note", "the end"], ["close", "h"]],
        },
        "worker": {
            "start": [["listen", "s", {"port": 0, "host": "127.0.0.1"}]],
            "s listening": [["address", "s"], ["disconnect"]],
        },
    },
    "a port that is taken": {
        "primary": {
            "start": [["hold", "h", "held"]],
            "held": ONE,
            "exit": [["close", "h"]],
        },
        "worker": {
            "start": [["know port", "h"], ["listen", "s", {"port": "h"}]],
            "s error": [["address", "s"], ["disconnect"]],
        },
        "deviation": ["D212", {"W1": {"s": ["error EADDRINUSE bind bind EADDRINUSE :::PORT"]}}],
    },
    "a port that is taken, shared": {
        "primary": {
            "start": [["policy", "SCHED_NONE"], ["hold", "h", "held"]],
            "held": ONE,
            "exit": [["close", "h"]],
        },
        "worker": {
            "start": [["know port", "h"], ["listen", "s", {"port": "h", "host": "::"}]],
            "s error": [["disconnect"]],
        },
    },
    "the same port twice in one worker": {
        "primary": {"start": ONE},
        "worker": {
            "start": [["listen", "s", {"port": 0, "host": "127.0.0.1"}]],
            "s listening": [["listen", "t", {"port": "s", "host": "127.0.0.1"}]],
            "t error": [["disconnect"]],
        },
    },
    "a server that is closed by its 'listening' is not announced": {
        "primary": {"start": ONE, "message": LEAVE},
        "worker": {
            **LISTEN,
            "s listening": [["close", "s"]],
            "s close": [["later", "told", 50]],
            "told": [["send", 0, "closed"]],
        },
    },
    "port 0 twice in one worker": {
        "primary": {"start": ONE, "listening #2": LEAVE},
        "worker": {"start": [["listen", "s", {"port": 0}], ["listen", "t", {"port": 0}]]},
    },
    "port 0 again after the first of two servers has closed": {
        "primary": {"start": ONE},
        "worker": {
            "start": [["listen", "s", {"port": 0}], ["listen", "t", {"port": 0}]],
            "t listening": [["same port", "t"], ["close", "s"]],
            "s close": [["later", "again", 50]],
            "again": [["listen", "u", {"port": 0}]],
            "u listening": [["same port", "u"], ["disconnect"]],
        },
    },
    "listen() and close() and listen()": {
        "primary": {
            "start": [["hold", "h", "held"]],
            "held": [["close", "h"], *ONE],
        },
        "worker": {
            "start": [
                ["know port", "h"],
                *[["listen", "s", {"port": "h"}], ["close", "s"], ["listen again", "s", "h"]],
            ],
            "s error": [["disconnect"]],
            "s listening": [["disconnect"]],
        },
        "deviation": [
            "D212",
            {"W1": {"s": ["close", "closed", "error EADDRINUSE bind bind EADDRINUSE :::PORT"]}},
        ],
    },
    "an exclusive server is the worker's own": {
        "primary": {"start": ONE},
        "worker": {
            "start": [["listen", "s", {"port": 0, "exclusive": True}]],
            "s listening": [["address", "s"], ["close", "s"]],
            "s close": [["disconnect"]],
        },
    },
    "a path": {
        "primary": {
            "start": ONE,
            "listening": [["ask path", "sock", "asked"]],
            "asked": LEAVE,
            "exit": [["exists", "sock"]],
        },
        "worker": {
            "start": [["listen", "s", {"path": "sock"}]],
            "s listening": [["address", "s"]],
        },
    },
    "a path in a folder that is not there": {
        "primary": {"start": ONE},
        "worker": {
            "start": [["listen", "s", {"path": "none/sock"}]],
            "s error": [["disconnect"]],
        },
    },
    "a path that two workers share": {
        "primary": {
            "start": TWO,
            "listening #2": [["disconnect", 1]],
            "exit 1": [["exists", "sock"], ["ask path", "sock", "asked"]],
            "asked": [["disconnect", 2]],
            "exit 2": [["exists", "sock"]],
        },
        "worker": {"start": [["listen", "s", {"path": "sock"}]]},
    },
    "a descriptor that is none": {
        "primary": {"start": ONE},
        "worker": {"start": [["listen", "s", {"fd": 200}]], "s error": [["disconnect"]]},
    },
    "an address that is not ours": {
        "primary": {"start": ONE},
        "worker": {
            "start": [["listen", "s", {"port": 0, "host": "192.0.2.1"}]],
            "s error": [["disconnect"]],
        },
    },
    "a name that nobody knows": {
        "primary": {"start": ONE},
        "worker": {
            "start": [["listen", "s", {"port": 0, "host": "no.such.host.invalid"}]],
            "s error": [["disconnect"]],
        },
    },
    "close() in the last worker closes it in the primary": {
        "primary": {
            "start": ONE,
            "listening": [["ask", 1, "asked"]],
            "asked": [["send", 1, "close"]],
            "message": [["ask", 1, "again"]],
            "again": LEAVE,
        },
        "worker": {
            **LISTEN,
            "message": [["close", "s"]],
            "s close": [["later", "told", 50]],
            "told": [["send", 0, "closed"]],
        },
    },
    "a worker that closes leaves the other alone": {
        "primary": {
            "start": TWO,
            "listening #2": [["send", 1, "close"]],
            "message #1": [["ask", 3, "asked"]],
            "asked": [["disconnect all", "all"]],
        },
        "worker": {
            **LISTEN,
            "message": [["close", "s"]],
            "s close": [["send", 0, "closed"]],
        },
    },
    "listening again after close()": {
        "primary": {
            "start": ONE,
            "listening #1": [["send", 1, "close"]],
            "listening #2": [["ask", 1, "asked"]],
            "asked": LEAVE,
        },
        "worker": {
            **LISTEN,
            "message": [["close", "s"]],
            "s close #1": [["later", "again", 50]],
            "again": [["listen", "t", {"port": 0}]],
        },
    },
    "a worker that is killed leaves its port to the other": {
        "primary": {
            "start": TWO,
            "listening #2": [["kill", 1, "SIGKILL"]],
            "exit 1": [["ask", 3, "asked"]],
            "asked": [["disconnect", 2]],
        },
        "worker": LISTEN,
    },
    "disconnect() waits for the servers": {
        "primary": {"start": ONE, "listening #2": LEAVE},
        "worker": {"start": [["listen", "s", {"port": 0}], ["listen", "t", {"port": 0}]]},
    },
    # ---- Handles ----
    "a socket is sent": {
        "primary": {
            "start": ONE,
            "online": [["pass sockets", 1, "yours", "ready"]],
            "ready": [["ask", 2, "asked"]],
            "asked": [["close", "front"], ["disconnect", 1]],
        },
        "worker": {"start": [["attend"]]},
    },
    "a server is sent": {
        "primary": {
            "start": ONE,
            "online": [["pass server", 1, "a server for you"]],
            "message": [["ask", 2, "asked"]],
            "asked": [["send", 1, "enough"], ["disconnect", 1]],
        },
        "worker": {"start": [["attend"]], "message #2": [["close", "given"]]},
    },
}
