"""Teach a small model from a large one, and know where every sample came from."""

from synthkd.errors import (
    BudgetError,
    ConfigError,
    CorpusError,
    MissingExtraError,
    RightsError,
    SynthkdError,
    TeacherError,
)

__all__ = [
    "BudgetError",
    "ConfigError",
    "CorpusError",
    "MissingExtraError",
    "RightsError",
    "SynthkdError",
    "TeacherError",
]
