"""How hypothesis drives the state machines."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, settings


def machine_settings(examples: int, steps: int, **options: Any) -> settings:
    """Programs of so many steps at most, however long each takes; a failing one is shrunk."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        **options,
    )
