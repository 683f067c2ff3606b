"""Who turns a loop: run() or asyncio; coroutine listeners; what the core calls in the facade."""
