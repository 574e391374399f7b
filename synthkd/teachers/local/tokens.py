"""The tokenizer of an open model: from messages to ids, and back to text."""

from collections.abc import Sequence
from functools import cached_property
from typing import cast

from jinja2 import TemplateError
from transformers import AutoTokenizer
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.utils import logging as transformers_logging

from synthkd.corpus.vocabulary import fingerprint, read_vocabulary
from synthkd.prompts import PLAIN_CHAT_TEMPLATE
from synthkd.records import Message
from synthkd.teachers.base import AttemptError


class Tokens:
    """The tokenizer and the chat template of a model, from a folder or a hub id."""

    def __init__(self, source: str, revision: str) -> None:
        """Remember where it is; nothing is loaded yet."""
        self.source = source
        self.revision = revision
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself."""
        try:
            return cast(
                "Tokenizer", AutoTokenizer.from_pretrained(self.source, revision=self.revision)
            )
        except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
            raise AttemptError(
                f"the tokenizer of {self.source} cannot be loaded, so nothing was asked: {error}",
                is_fatal=True,
            ) from error

    @cached_property
    def vocabulary(self) -> tuple[str, dict[int, bytes]]:
        """The fingerprint of its vocabulary, and the bytes of each id."""
        if not hasattr(self.tokenizer, "backend_tokenizer"):
            raise AttemptError(
                f"the tokenizer of {self.source} has no tokenizer.json form, so what its ids "
                "spell is not known; ask without stop and logprobs, or convert it",
                is_fatal=True,
            )
        vocabulary = read_vocabulary(self.tokenizer.backend_tokenizer.to_str())
        return fingerprint(vocabulary), vocabulary

    def read(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of `messages` up to where the answer begins.

        Raises:
            AttemptError: The chat template refuses them, or they come to no token at all.
        """
        ids = self._ids(self._render(messages))
        if not ids:
            raise AttemptError("a prompt is empty: its messages come to no token at all")
        return ids

    def read_answered(
        self, messages: Sequence[Message], completion: str
    ) -> tuple[list[int], list[int]]:
        """Return the ids of `messages`, and those of `completion` after them.

        Raises:
            AttemptError: The chat template refuses them, or they come to no token at all.
        """
        prompt = self.read(messages)
        whole = self._ids(self._render(messages) + completion)
        # Read with what it follows, a text gets no mark of a beginning; but where its first
        # token would merge with the prompt's last, what the model answers to is the prompt.
        if whole[: len(prompt)] == prompt:
            return prompt, whole[len(prompt) :]
        return prompt, self._ids(completion)

    def write(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, without special tokens."""
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _render(self, messages: Sequence[Message]) -> str:
        """Return `messages` under the model's chat template, or the plain one."""
        template = None if self.tokenizer.chat_template else PLAIN_CHAT_TEMPLATE
        try:
            text = self.tokenizer.apply_chat_template(
                [message._asdict() for message in messages],
                chat_template=template,
                add_generation_prompt=True,
                tokenize=False,
            )
        except (TemplateError, ValueError) as error:
            raise AttemptError(
                f"the chat template of {self.source} refuses the messages: {error}. Write the "
                "prompt with roles that it knows (some know no system role)."
            ) from error
        return str(text)
