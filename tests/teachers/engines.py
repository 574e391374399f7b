"""How a test asks a teacher through the engine, and sees what was asked."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from synthkd.corpus.plans import Ask, Plan, make_plan
from synthkd.corpus.store import Corpus
from synthkd.pipeline.asking import ask_plan
from synthkd.records import Message
from synthkd.teachers.engine import Asked
from synthkd.teachers.options import TeacherOptions
from tests.teachers.loopback import Asked as Seen
from tests.teachers.loopback import Json, Loopback, chat

# An answer of the loopback server costs $13 at these prices, and never more than its worst.
PRICED: dict[str, Any] = {
    "price_usd_per_million": {"prompt": 1e6, "completion": 2e6},
    "parameters": {"max_tokens": 3},
}


def options(*servers: Loopback, **fields: Any) -> TeacherOptions:
    """Return a teacher that `servers` serve together."""
    urls = tuple(f"{server.url}/v1" for server in servers)
    return TeacherOptions(model="openai/m", **{"base_url": urls, **fields})


def plan(corpus: Corpus, teacher: TeacherOptions, texts: Sequence[str], name: str = "test") -> Plan:
    """Write down that each of `texts` is to be asked, as often as the options say."""
    connected = teacher.connect()
    requests = (
        teacher.request(connected, (Message("user", text),), index)
        for text in texts
        for index in range(teacher.samples)
    )
    return make_plan(corpus, name, (Ask(request, connected.host) for request in requests))


def ask(corpus: Corpus, teacher: TeacherOptions, texts: Sequence[str], **how: Any) -> Asked:
    """Have `texts` asked as a pipeline does it."""
    wanted = plan(corpus, teacher, texts)
    return ask_plan(wanted, teacher.connect_all(), teacher, run_id="run", **how)


def answers(
    corpus: Corpus, teacher: TeacherOptions, texts: Sequence[str]
) -> list[tuple[str, str | None]]:
    """Return what the corpus holds for `texts`, in their order."""
    wanted = plan(corpus, teacher, texts, "read")
    return [(each.request_key, each.text) for page in wanted.answers() for each in page]


def prompt_of(seen: Seen) -> str:
    return str(seen.body["messages"][-1]["content"])


def prompts(*servers: Loopback) -> Counter[str]:
    """Return how often each prompt was asked."""
    return Counter(prompt_of(seen) for server in servers for seen in server.requests)


def choices(*texts: str | None) -> Json:
    """Return a chat completion with a choice for each of `texts`; None is one without text."""
    answer = chat()
    answer["choices"] = [{**chat(text)["choices"][0], "index": i} for i, text in enumerate(texts)]
    return answer
