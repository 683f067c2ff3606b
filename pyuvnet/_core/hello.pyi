LIMIT: int
MAX_RECORDS: int
MAX_NAME: int

def read_hello(data: bytes) -> tuple[str | None, list[str]] | None: ...
