from typing_extensions import disjoint_base

from .emitter import EventEmitter

class Collector(EventEmitter): ...

@disjoint_base
class Acceptor(EventEmitter): ...
