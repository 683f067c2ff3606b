from .loop import Loop

def current_loop() -> Loop: ...

# Node's spellings, by tools/stubs.py
currentLoop = current_loop
# Node's spellings end
