"""The mapping in which addresses and the data of `'drop'` come."""

from __future__ import annotations

from . import TYPE_CHECKING
from .names import to_node

if TYPE_CHECKING:
    from typing import Any

    _Items = dict[str, Any]
else:
    _Items = dict


# Keys of a certificate that Node does not write as its others.
_SNAKES = {"validFrom": "valid_from", "validTo": "valid_to", "extKeyUsage": "ext_key_usage"}


class Info(_Items):
    """A dict with Node's keys which answers PEP 8 keys too, and both as attributes.

    `info['localAddress']`, `info['local_address']`, `info.localAddress` and `info.local_address`
    are one item, under the first key.

    Args:
        items: as for dict; the keys in either spelling.

    Node: server.address(), socket.address()
    """

    __slots__ = ()

    @staticmethod
    def _listed(key: Any) -> Any:
        """The key under which an item is listed."""
        return to_node(key) if isinstance(key, str) and "_" in key else key

    def __init__(self, *args: Any, **items: Any) -> None:
        super().__init__()
        self.update(*args, **items)

    def __missing__(self, key: object) -> Any:
        name = self._listed(key)
        if name != key and name in self:
            return self[name]
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(self._listed(key))

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(self._listed(key), value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        super().__delitem__(self._listed(key))

    def __or__(self, other: Any) -> Info:  # type: ignore[override]
        if not isinstance(other, dict):
            return NotImplemented
        return Info(self).__ior__(other)

    def __ror__(self, other: Any) -> Info:  # type: ignore[override]
        if not isinstance(other, dict):
            return NotImplemented
        return Info(other).__ior__(self)

    def __ior__(self, other: Any) -> Info:  # type: ignore[override]
        self.update(other)
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            text = f"no item {name!r} in {{{', '.join(self)}}}"
            raise AttributeError(text, name=name, obj=self) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"no item {name!r} in {{{', '.join(self)}}}", name=name, obj=self)
        del self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the item, or default if there is none."""
        return super().get(self._listed(key), default)

    def pop(self, key: str, *default: Any) -> Any:
        """Remove the item and return it, or default if there is none."""
        return super().pop(self._listed(key), *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the item, after setting it to default if there is none."""
        return super().setdefault(self._listed(key), default)

    def update(self, *args: Any, **items: Any) -> None:
        """Set items from a mapping or from pairs, and from keywords."""
        given = dict(*args, **items)
        # items() crashes CPython 3.11 where there is no memory for it.
        for key in given:
            self[key] = given[key]

    def copy(self) -> Info:
        """Return a shallow copy."""
        return Info(self)


class CertificateInfo(Info):
    """A certificate, listed with Node's keys, of which three are like Python's: `valid_from`."""

    __slots__ = ()

    @staticmethod
    def _listed(key: Any) -> Any:
        name = Info._listed(key)
        return _SNAKES.get(name, name) if isinstance(name, str) else name

    def copy(self) -> Info:
        """Return a shallow copy."""
        return CertificateInfo(self)


class NodeDrop(Info):
    """What 'drop' has above max_connections: Node's items, and a reason that is not one of them.

    Node: the data of 'drop'
    """

    __slots__ = ()
    reason = "max_connections"

    def __missing__(self, key: object) -> Any:
        return self.reason if key == "reason" else super().__missing__(key)
