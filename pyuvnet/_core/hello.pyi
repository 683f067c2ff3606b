LIMIT: int
MAX_RECORDS: int

def read_hello(data: bytes) -> tuple[str | None, list[str]] | None: ...
