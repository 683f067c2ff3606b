# pyright: strict
"""Names for what functions return: timers, immediates, infos and chunks; the reason of errors."""

from __future__ import annotations

from typing import assert_type

from pyuvnet import Socket, set_immediate, set_timeout, tls
from pyuvnet.typing import Immediate, Info, TextSocket, Timeout


class Connection:
    """Keeps a timer of its own, which needs a name for its type."""

    timer: Timeout | None = None
    immediate: Immediate | None = None

    def begin(self, socket: Socket, text: TextSocket) -> None:
        self.timer = set_timeout(print, 1000)
        self.immediate = set_immediate(print)
        info: Info = socket.info()
        assert_type(socket.read(), bytes | None)
        assert_type(text.read(10), str | None)
        print(info)


def failed(secure: tls.TLSSocket) -> None:
    secure.on("error", lambda error: print(error.reason))
