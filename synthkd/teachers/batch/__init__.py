"""Batch mode: requests handed to a provider now, answered within a day, at a share of the price."""

from synthkd.errors import ConfigError
from synthkd.teachers.batch.base import BatchService, Limits
from synthkd.teachers.batch.download import Keep, Returned
from synthkd.teachers.batch.jobs import Collected, collect, submit_all
from synthkd.teachers.options import TeacherOptions

__all__ = [
    "BatchService",
    "Collected",
    "Keep",
    "Limits",
    "Returned",
    "collect",
    "connect",
    "submit_all",
]


def connect(options: TeacherOptions) -> BatchService:
    """Return the batch service of the teacher that `options` describe; nothing is sent yet.

    Of several addresses and keys it is the first: a batch is known only to the key it was
    submitted with. Use it in one event loop, and close it.

    Raises:
        ConfigError: A key is missing, an option cannot be sent, or that teacher takes no batches.
    """
    if options.provider == "openai":
        from synthkd.teachers.batch.openai import OpenAIBatches
        from synthkd.teachers.openai import OpenAITeacher

        return OpenAIBatches.connect(OpenAITeacher.connect(options).server, api=options.api)
    if options.provider == "anthropic":
        from synthkd.teachers.anthropic import AnthropicTeacher
        from synthkd.teachers.batch.anthropic import AnthropicBatches

        return AnthropicBatches.connect(
            AnthropicTeacher.connect(options).server,
            version=options.parameters.get("anthropic_version"),
            prompt_caching=options.prompt_caching,
        )
    raise ConfigError(
        f"the teacher {options.model!r} takes no batches; only openai/... and anthropic/... do. "
        "Write mode: online."
    )
