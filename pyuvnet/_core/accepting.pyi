from ..server import Server
from .loop import Loop

def listening_servers(loop: Loop) -> list[Server]: ...
