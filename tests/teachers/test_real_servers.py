"""The teachers against servers that nobody here wrote. Each test runs where its server does.

SYNTHKD_OPENAI_SERVER     'BASE_URL MODEL' of a `transformers serve`
SYNTHKD_VLLM_SERVER       'BASE_URL MODEL' of vLLM serving ../shared/models/tiny-chat
SYNTHKD_LLAMACPP_SERVER   'BASE_URL MODEL' of llama.cpp serving the same model
SYNTHKD_LLMOCK_SERVER     root URL of an llmock
"""

import asyncio
import json
import math
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from synthkd.corpus.vocabulary import read_vocabulary
from synthkd.records import Completion, Message, Request
from synthkd.teachers import TeacherOptions, parse, responses
from synthkd.teachers.base import Answer, AttemptError
from synthkd.teachers.openai import OpenAITeacher
from synthkd.teachers.scoring import UnscoredError, parse_score, score_one, score_request
from tests.teachers.asking import ask

TINY_CHAT = Path(__file__).resolve().parents[3] / "shared" / "models" / "tiny-chat"
QUESTION = (Message("user", "What is 3 + 4?"),)


def running(variable: str) -> str:
    """Return what the environment variable says, or skip the test."""
    if variable not in os.environ:
        pytest.skip(f"no such server is running here: {variable} is not set")
    return os.environ[variable]


def options(variable: str, **given: Any) -> TeacherOptions:
    base_url, model = running(variable).split()
    return TeacherOptions(model=f"openai/{model}", base_url=base_url, **given)


def answer(asked: TeacherOptions, messages: Sequence[Message] = QUESTION) -> Completion:
    return parse(asked.provider, ask(asked, messages))


def test_transformers_serve_answers_and_ignores_logprobs() -> None:
    completion = answer(
        options("SYNTHKD_OPENAI_SERVER", logprobs=5, parameters={"max_tokens": 20, "seed": 1})
    )

    assert completion.text
    assert completion.finish_reason in ("stop", "length")
    assert completion.prompt_tokens == 18
    assert completion.logprobs is None


def test_transformers_serve_refuses_a_field_it_does_not_know() -> None:
    with pytest.raises(AttemptError) as caught:
        answer(options("SYNTHKD_OPENAI_SERVER", parameters={"min_p": 0.1}))

    assert (caught.value.status, caught.value.is_retryable) == (422, False)
    assert "min_p" in str(caught.value)


@pytest.mark.parametrize("variable", ["SYNTHKD_VLLM_SERVER", "SYNTHKD_LLAMACPP_SERVER"])
@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_logprobs_are_those_of_the_model(variable: str, temperature: float) -> None:
    running(variable)
    reference = Reference()
    # llama.cpp samples from the 40 most probable unless it is told not to.
    unfiltered = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
    compared, worst = 0, 0.0

    for seed in range(4):
        parameters = {"max_tokens": 40, "temperature": temperature, "seed": seed} | unfiltered
        completion = answer(options(variable, logprobs=5, parameters=parameters))
        difference = reference.compare(completion)
        compared += len(difference)
        worst = max([worst, *difference])

    assert compared >= 80
    assert worst < 1e-3


@pytest.mark.parametrize("variable", ["SYNTHKD_VLLM_SERVER", "SYNTHKD_LLAMACPP_SERVER"])
def test_a_position_is_kept_for_every_completion_token(variable: str) -> None:
    completion = answer(options(variable, logprobs=5, parameters={"temperature": 0}))

    assert completion.text == "3 + 4 = 7."
    assert completion.logprobs is not None
    assert len(completion.logprobs.positions) == completion.completion_tokens == 9
    sampled = [
        completion.logprobs.tokens[p.sampled.token_id] for p in completion.logprobs.positions
    ]
    assert b"".join(sampled[:-1]).decode() == completion.text
    assert sampled[-1] in (b"", b"<|im_end|>")


def score(asked: TeacherOptions, completion: str) -> tuple[bytes, Request]:
    """Return the raw answer of a server that reads `completion`, and what it was asked."""
    teacher = OpenAITeacher.connect(asked)
    request = score_request(teacher, QUESTION, completion, logprobs=asked.logprobs)

    async def score_and_close() -> bytes:
        try:
            return (await score_one(teacher, request)).body
        finally:
            await teacher.close()

    return asyncio.run(score_and_close()), request


@pytest.mark.parametrize(("temperature", "seed"), [(0.0, 0), (1.0, 2), (2.0, 1)])
def test_vllm_scores_a_text_as_it_did_when_it_wrote_it(temperature: float, seed: int) -> None:
    parameters = {"max_tokens": 40, "temperature": temperature, "seed": seed}
    asked = options("SYNTHKD_VLLM_SERVER", logprobs=5, parameters=parameters)

    said = answer(asked)
    scored = parse_score(*score(asked, said.text))

    assert said.logprobs is not None
    wrote = [position.sampled.logprob for position in said.logprobs.positions]
    read = [position.sampled.logprob for position in scored.positions]
    assert read == pytest.approx(wrote[: len(read)], abs=1e-3)
    assert len(wrote) - len(read) == (said.finish_reason == "stop")  # its end is not in the text
    tokens = [scored.tokens[position.sampled.token_id] for position in scored.positions]
    assert b"".join(tokens).decode() == said.text


def test_vllm_scores_half_characters_by_a_vocabulary() -> None:
    asked = options("SYNTHKD_VLLM_SERVER", logprobs=5)
    if not TINY_CHAT.exists():
        pytest.skip(f"the model that the server runs is not at {TINY_CHAT}")
    vocabulary = read_vocabulary((TINY_CHAT / "tokenizer.json").read_text(encoding="utf-8"))

    scored = parse_score(*score(asked, "été 😀"), ("fingerprint", vocabulary))

    assert scored.vocabulary == "fingerprint"
    tokens = [vocabulary[position.sampled.token_id] for position in scored.positions]
    assert b"".join(tokens).decode() == "été 😀"
    assert len(tokens) > len("été 😀")


def test_vllm_does_not_score_what_it_cannot_name() -> None:
    with pytest.raises(UnscoredError, match="another text"):
        parse_score(*score(options("SYNTHKD_VLLM_SERVER", logprobs=5), "\ufffd is no character"))


def test_transformers_serve_scores_nothing_and_is_told() -> None:
    asked = options("SYNTHKD_OPENAI_SERVER", logprobs=5)

    with pytest.raises((UnscoredError, AttemptError), match="prompt_logprobs"):
        parse_score(*score(asked, "3 + 4 = 7."))


@pytest.mark.parametrize("variable", ["SYNTHKD_VLLM_SERVER", "SYNTHKD_LLAMACPP_SERVER"])
def test_a_server_gives_as_many_samples_as_it_is_asked_for(variable: str) -> None:
    asked = options(variable, parameters={"temperature": 1.0, "max_tokens": 20})
    teacher = OpenAITeacher.connect(asked)
    requests = [asked.request(teacher, QUESTION, index) for index in range(3)]

    async def ask_and_close() -> Sequence[Answer]:
        try:
            return await teacher.ask(requests)
        finally:
            await teacher.close()

    answers = asyncio.run(ask_and_close())

    texts = [parse("openai", each.body, each.choice).text for each in answers]
    assert len(texts) == 3
    assert all(texts)


@pytest.mark.parametrize(
    "variable", ["SYNTHKD_VLLM_SERVER", "SYNTHKD_LLAMACPP_SERVER", "SYNTHKD_OPENAI_SERVER"]
)
def test_a_server_answers_by_the_responses_api(variable: str) -> None:
    asked = options(variable, api="responses", parameters={"max_tokens": 20, "temperature": 0})

    completion = responses.parse(ask(asked, QUESTION))

    assert completion.text == "3 + 4 = 7."
    assert completion.finish_reason == "stop"
    assert completion.prompt_tokens


def test_vllm_gives_logprobs_by_the_responses_api_too() -> None:
    asked = options(
        "SYNTHKD_VLLM_SERVER", api="responses", logprobs=5, parameters={"temperature": 0}
    )

    logprobs = responses.parse(ask(asked, QUESTION)).logprobs

    assert logprobs is not None
    tokens = [logprobs.tokens[position.sampled.token_id] for position in logprobs.positions]
    assert b"".join(tokens).startswith(b"3 + 4 ")


class Reference:
    """The same model in this process, its next-token distribution worked out in full."""

    def __init__(self) -> None:
        """Load it, or skip the test."""
        pytest.importorskip("torch", reason="the comparison needs torch")
        if not TINY_CHAT.exists():
            pytest.skip(f"the model that the server runs is not at {TINY_CHAT}")
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._model = AutoModelForCausalLM.from_pretrained(TINY_CHAT).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(TINY_CHAT)
        text = (TINY_CHAT / "tokenizer.json").read_text(encoding="utf-8")
        self._ids = {token: index for index, token in read_vocabulary(text).items()}

    def compare(self, completion: Completion) -> list[float]:
        """Return how far off each candidate is in nats, and each tail in mass.

        Reading stops at a sampled token that the server gives no name: what
        follows it cannot be worked out.
        """
        import torch

        logprobs = completion.logprobs
        assert logprobs is not None
        prompt = self._tokenizer.apply_chat_template(
            [message._asdict() for message in QUESTION],
            add_generation_prompt=True,
            return_dict=False,
        )
        assert completion.prompt_tokens == len(prompt)
        ids: list[int] = []
        for position in logprobs.positions:
            token = self._ids.get(logprobs.tokens[position.sampled.token_id])
            if token is None:
                break
            ids.append(token)
        with torch.inference_mode():
            logits = self._model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 :]
        expected = logits.float().log_softmax(dim=-1).tolist()

        differences = []
        for position, row in zip(logprobs.positions, expected, strict=False):
            tail = 1.0
            for candidate in position.top:
                token = self._ids.get(logprobs.tokens[candidate.token_id])
                if token is not None:
                    differences.append(abs(candidate.logprob - row[token]))
                tail -= math.exp(candidate.logprob if token is None else row[token])
            differences.append(abs(position.tail - max(0.0, tail)))
        return differences


class Mock:
    """An llmock: a server that is told what to do, and judges its client."""

    def __init__(self) -> None:
        """Start afresh, or skip the test."""
        self.url = running("SYNTHKD_LLMOCK_SERVER").rstrip("/")
        self._call("reset", {})

    def queue(self, **behavior: Any) -> None:
        """Do this with the next request."""
        self._call("scenario", {"behaviors": [behavior]})

    def options(self, **given: Any) -> TeacherOptions:
        """Return a teacher that speaks Anthropic's protocol to it."""
        return TeacherOptions(model="anthropic/claude-x", base_url=f"{self.url}/anthropic", **given)

    def _call(self, verb: str, body: Any) -> None:
        request = urllib.request.Request(  # noqa: S310  a URL that the tester states
            f"{self.url}/_llmock/{verb}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310


def test_llmock_answers_in_anthropics_protocol() -> None:
    mock = Mock()
    mock.queue(type="reply", text="Seven.")

    completion = answer(mock.options(), [Message("system", "Be brief."), *QUESTION])

    assert (completion.text, completion.finish_reason) == ("Seven.", "stop")
    assert completion.prompt_tokens
    assert completion.completion_tokens


@pytest.mark.parametrize(
    ("status", "is_retryable", "is_fatal"),
    [(429, True, False), (529, True, False), (400, False, False), (401, False, True)],
)
def test_llmocks_failures_say_whether_another_try_can_do_better(
    status: int, is_retryable: bool, is_fatal: bool
) -> None:
    mock = Mock()
    mock.queue(type="fail", status=status, retry_after=2)

    with pytest.raises(AttemptError) as caught:
        answer(mock.options())

    assert (caught.value.is_retryable, caught.value.is_fatal) == (is_retryable, is_fatal)
    assert caught.value.status == status
    assert caught.value.retry_after == 2
