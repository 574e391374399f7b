"""A teacher on loopback that counts what it is asked, fails when told to and enforces limits.

    python -m tests.benchmarks.teacher --latency 0.05 --rpm 3000

prints its address, answers POST /v1/chat/completions and tells at GET /stats what it saw.
It speaks just enough HTTP/1.1 to be a small part of what is measured.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any

TOKENS = 150  # of an answer


class Limit:
    """So many a minute, and not much at once: a bucket that holds `seconds` worth, and is empty."""

    def __init__(self, per_minute: float | None, seconds: float) -> None:
        self.rate = per_minute / 60 if per_minute else None
        self.most = (self.rate or 0) * seconds
        self.held, self.at = 0.0, 0.0

    def take(self, amount: float, now: float) -> float:
        """Take `amount` and return 0, or return the seconds until there is as much."""
        if self.rate is None:
            return 0.0
        self.held = min(self.most, self.held + (now - self.at) * self.rate)
        self.at = now
        if self.held < min(amount, self.most):
            return (min(amount, self.most) - self.held) / self.rate
        self.held -= amount
        return 0.0


class Teacher:
    """What it was told to be, and what it saw."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.random = random.Random(options.seed)
        self.requests = Limit(options.rpm, options.burst)
        self.tokens = Limit(options.tpm, options.burst)
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.first = self.last = 0.0
        self.body = json.dumps(_answer(options)).encode()

    def stats(self) -> dict[str, Any]:
        """Return what was seen; `again` are answers beyond a prompt's first."""
        return {
            **self.seen,
            "prompts": len(self.asked),
            "answered": sum(self.answered.values()),
            "answered_prompts": len(self.answered),
            "again": sum(count - 1 for count in self.answered.values()),
            "seconds": self.last - self.first,
        }

    def reply(self, body: bytes, now: float) -> tuple[float, bytes, bool, str]:
        """Return (seconds to wait, HTTP answer, is it cut, prompt) for a request."""
        prompt = json.loads(body)["messages"][-1]["content"]
        self.asked[prompt] += 1
        self.seen["requests"] += 1
        self.first, self.last = self.first or now, now
        wait = max(self.requests.take(1, now), self.tokens.take(TOKENS + 20, now))
        if wait:
            self.seen["refused"] += 1
            said = {"retry-after": f"{wait:.3f}"} if self.options.retry_after else {}
            return 0.0, _http(429, b'{"error":{"message":"slow down"}}', self._limits(said)), False, ""
        chance = self.random.random()
        for fault in ("hang", "malformed", "cut", "error429", "error500"):
            share = getattr(self.options, fault)
            if chance < share:
                self.seen[fault] += 1
                return self._fail(fault)
            chance -= share
        answer = _http(200, self.body, self._limits({}))
        return self.options.latency, answer, False, prompt

    def _fail(self, fault: str) -> tuple[float, bytes, bool, str]:
        latency = self.options.latency
        if fault == "hang":
            return -1.0, b"", False, ""
        if fault == "error429":
            return latency, _http(429, b'{"error":{"message":"busy"}}', {}), False, ""
        if fault == "error500":
            return latency, _http(500, b"oops", {}), False, ""
        if fault == "malformed":
            return latency, _http(200, self.body[: len(self.body) // 2], {}), False, ""
        whole = _http(200, self.body, {})
        return latency, whole[: len(whole) - len(self.body) // 2], True, ""

    def _limits(self, said: dict[str, str]) -> dict[str, str]:
        if self.options.headers:
            for name, value in (("requests", self.options.rpm), ("tokens", self.options.tpm)):
                if value:
                    said[f"x-ratelimit-limit-{name}"] = f"{value:.0f}"
        return said


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.received = b""
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, rest = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        if head.startswith(b"GET"):
            self.transport.write(_http(200, json.dumps(self.teacher.stats()).encode(), {}))
            self.received = rest
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self.received = rest[length:]
        wait, answer, is_cut, prompt = self.teacher.reply(rest[:length], self.loop.time())
        if wait >= 0:
            self.loop.call_later(wait, self.send, answer, is_cut, prompt)

    def send(self, answer: bytes, is_cut: bool, prompt: str) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(answer)
        if prompt:
            self.teacher.answered[prompt] += 1
        if is_cut:
            self.transport.close()


def _http(status: int, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _answer(options: argparse.Namespace) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": "word " * TOKENS},
        "finish_reason": options.finish_reason,
    }
    if options.logprobs:
        choice["logprobs"] = {"content": [_position(i, options.logprobs) for i in range(TOKENS)]}
    usage = {"prompt_tokens": 20, "completion_tokens": TOKENS, "total_tokens": 20 + TOKENS}
    return {"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}


def _position(place: int, most: int) -> dict[str, Any]:
    numbers = random.Random(place)
    logprobs = sorted((-numbers.expovariate(0.25) - 0.01 for _ in range(most)), reverse=True)
    words = [f" w{numbers.randrange(30_000)}" for _ in range(most)]
    top = [
        {"token": word, "logprob": logprob, "bytes": list(word.encode())}
        for word, logprob in zip(words, logprobs, strict=True)
    ]
    return {**top[0], "top_logprobs": top}


async def _serve(options: argparse.Namespace) -> None:
    teacher = Teacher(options)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(teacher), "127.0.0.1", options.port, backlog=2048
    )
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    await server.serve_forever()


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--rpm", type=float, help="requests a minute")
    parser.add_argument("--tpm", type=float, help="tokens a minute")
    parser.add_argument("--burst", type=float, default=1.0, help="seconds' worth taken at once")
    parser.add_argument("--headers", action="store_true", help="tell the limits")
    parser.add_argument("--retry-after", action="store_true")
    parser.add_argument("--finish-reason", default="stop")
    parser.add_argument("--logprobs", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    for fault in ("hang", "malformed", "cut", "error429", "error500"):
        parser.add_argument(f"--{fault}", type=float, default=0.0, help="share of the requests")
    asyncio.run(_serve(parser.parse_args(arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
