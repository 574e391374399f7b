"""A server on 127.0.0.1 that counts what it was asked, limits it, and fails by chance.

    python -m tests.teachers.metered --port 0 --requests-per-minute 3000 --headers

It prints its address and answers chat completions until it is stopped; `GET /stats` tells
what was asked, answered and refused, `POST /reset` begins anew. In a test:

    with Metered(Options(requests_per_minute=3000)) as server:
        server.url, server.stats()

A prompt is known by its last message. It was answered once the whole body was given to
the connection. The work per request is kept so small that a client on the same machine
can be measured.
"""

import argparse
import asyncio
import dataclasses
import json
import math
import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, Self, get_type_hints

from tests.teachers.limits.limiters import PerMinute

_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_CONTENT = re.compile(rb'"content":\s*"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Options:
    """What the server does. Each is an option of its command line: `--tokens-per-minute 1e5`.

    `burst` is the seconds of a limit that its bucket holds, and `full` has it start so.
    An answer is the `words` over and over; its `tokens` are words. The rest are seconds,
    counts, and shares of the requests between 0 and 1.
    """

    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    burst: float = 1.0
    full: bool = False
    headers: bool = False
    anthropic_headers: bool = False
    retry_after: bool = False
    latency: float = 0.05
    tokens: int = 150
    words: str = "word"
    logprobs: int = 0
    malformed: float = 0.0
    cut: float = 0.0
    hang: float = 0.0
    refused: float = 0.0
    broken: float = 0.0
    seed: int = 0
    port: int = 0


@dataclass
class Stats:
    """What became of the requests, by prompt; and the tokens that were answered."""

    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    hung: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    failed: int = 0
    tokens: int = 0
    in_flight: int = 0
    peak: int = 0
    started: float = 0.0
    seconds: float = 0.0  # from the first request to the last


class Metered:
    """The running server. `url` is its root: OpenAI's API begins at `url + "/v1"`."""

    def __init__(self, options: Options | None = None) -> None:
        """Prepare it; `with` starts it in a thread, `serve` in the running loop."""
        self.options = options or Options()
        self.completion = _write_completion(self.options)
        self.url = ""
        self.reset()

    def reset(self) -> None:
        """Forget what was asked, and begin the limits anew."""
        options = self.options
        self.counts = Stats()
        self.chance = random.Random(options.seed)  # noqa: S311  # faults are no secret
        named = {"requests": options.requests_per_minute, "tokens": options.tokens_per_minute}
        self.limits = [
            PerMinute(name, rate, burst=options.burst, full=options.full)
            for name, rate in named.items()
            if rate
        ]

    def stats(self) -> dict[str, Any]:
        """Return what `GET /stats` does."""
        return {
            name: value.copy() if isinstance(value, Counter) else value
            for name, value in vars(self.counts).items()
        }

    async def serve(self) -> asyncio.Server:
        """Listen on 127.0.0.1 in the running loop."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.options.port, backlog=1024
        )
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def __enter__(self) -> Self:
        ready = threading.Event()

        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            server = await self.serve()
            ready.set()
            await self._stop.wait()
            server.close()

        self._thread = threading.Thread(target=asyncio.run, args=(main(),))
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def decide(self, prompt: str) -> tuple[bytes, float]:
        """Return the whole reply to a prompt, and the share of it that is sent."""
        options, counts = self.options, self.counts
        counts.asked[prompt] += 1
        now = time.monotonic()
        counts.started = counts.started or now
        counts.seconds = now - counts.started
        dice = self.chance.random()
        spent = self._charge(prompt)
        if spent is not None:
            counts.refused += 1
            return self._reply(429, _error("rate_limit_exceeded"), wait=spent), 1.0
        shares = [options.refused, options.broken, options.malformed, options.cut, options.hang]
        for kind, share in enumerate(shares):
            dice -= share
            if dice >= 0:
                continue
            counts.failed += 1
            if kind == 0:
                return self._reply(429, _error("rate_limit_exceeded")), 1.0
            if kind == 1:
                return self._reply(500, _error("server_error")), 1.0
            if kind == 4:
                counts.hung[prompt] += 1
            body = b"<html>Bad gateway</html>" if kind == 2 else self._complete(prompt)
            return self._reply(200, body), (1.0, 0.5, 0.0)[kind - 2]
        return self._reply(200, self._complete(prompt)), 1.0

    def _charge(self, prompt: str) -> float | None:
        """Take the request from every limit; return the seconds to wait if one refuses."""
        now, amounts = time.monotonic(), {"requests": 1, "tokens": self._tokens(prompt)}
        waits = [limit.bucket.wait(amounts[limit.name], now) for limit in self.limits]
        if max(waits, default=0.0) > 0:
            return max(waits)
        for limit in self.limits:
            limit.bucket.take(amounts[limit.name], now)
        self.counts.tokens += amounts["tokens"]
        return None

    def _tokens(self, prompt: str) -> int:
        return len(prompt) // 4 + 1 + self.options.tokens

    def _complete(self, prompt: str) -> bytes:
        prompted = len(prompt) // 4 + 1
        usage = f'"usage":{{"prompt_tokens":{prompted},"completion_tokens":{self.options.tokens},"total_tokens":{prompted + self.options.tokens}}}}}'
        return self.completion + usage.encode()

    def _reply(self, status: int, body: bytes, wait: float | None = None) -> bytes:
        options = self.options
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        if options.headers or options.anthropic_headers:
            head += "".join(
                limit.headers(anthropic=options.anthropic_headers) for limit in self.limits
            )
        if wait is not None and options.retry_after:
            head += f"retry-after: {max(1, math.ceil(wait))}\r\n"
        return head.encode() + b"\r\n" + body


class _Connection(asyncio.Protocol):
    """One keep-alive connection: a request at a time, no header read but the length."""

    def __init__(self, server: Metered) -> None:
        self.server = server
        self.buffer = bytearray()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.buffer[:end])
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = bytes(self.buffer[end + 4 : end + 4 + length])
            del self.buffer[: end + 4 + length]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        server = self.server
        if b"/chat/completions " not in head[:200]:
            if head.startswith(b"POST /reset"):
                server.reset()
            self.transport.write(server._reply(200, json.dumps(server.stats()).encode()))
            return
        contents = _CONTENT.findall(body)
        prompt = json.loads(b'"' + contents[-1] + b'"') if contents else ""
        counts = server.counts
        counts.in_flight += 1
        counts.peak = max(counts.peak, counts.in_flight)
        reply, share = server.decide(prompt)
        asyncio.get_running_loop().call_later(
            server.options.latency, self._send, reply, share, prompt, counts
        )

    def _send(self, reply: bytes, share: float, prompt: str, counts: Stats) -> None:
        counts.in_flight -= 1
        if self.is_lost or not share:
            return  # a hang: the client gives up first
        self.transport.write(reply[: int(len(reply) * share)])
        if share < 1:
            self.transport.close()
        elif reply.startswith(b"HTTP/1.1 200") and b"\r\n\r\n{" in reply[:1000]:
            counts.answered[prompt] += 1


def _error(code: str) -> bytes:
    return json.dumps({"error": {"message": "no", "type": code, "code": code}}).encode()


def _write_completion(options: Options) -> bytes:
    """Return the answer as far as it is the same for every prompt, but for its last brace."""
    words = [f" {word}" for word in islice(cycle(options.words.split()), options.tokens)]
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(words).strip()},
        "finish_reason": "stop",
    }
    if options.logprobs:
        positions = range(options.tokens)
        choice["logprobs"] = {"content": [_write_position(i, options.logprobs) for i in positions]}
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }
    return json.dumps(whole).encode()[:-1] + b","


def _write_position(place: int, most: int) -> dict[str, Any]:
    """Return the log-probabilities of one token: as a teacher's, no two positions are alike."""
    draw = random.Random(place)  # noqa: S311  # the same at every start
    logprobs = sorted((-draw.expovariate(0.25) - 0.01 for _ in range(most)), reverse=True)
    words = [f" w{draw.randrange(30_000)}" for _ in range(most)]
    top = [
        {"token": word, "logprob": logprob, "bytes": list(word.encode())}
        for word, logprob in zip(words, logprobs, strict=True)
    ]
    return {**top[0], "top_logprobs": top}


def main(arguments: list[str] | None = None) -> None:
    """Serve until stopped, having printed the address."""
    parser = argparse.ArgumentParser(description="A loopback teacher that counts and limits.")
    types = get_type_hints(Options)
    for option in dataclasses.fields(Options):
        flag = "--" + option.name.replace("_", "-")
        if types[option.name] is bool:
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=types[option.name], default=option.default)

    async def serve() -> None:
        metered = Metered(Options(**vars(parser.parse_args(arguments))))
        server = await metered.serve()
        print(metered.url, flush=True)  # noqa: T201  # the caller reads the port from it
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
