from typing import final

@final
class Window: ...

@final
class Engine: ...
