"""The road to a server: one POST, the bytes of its answer, and nothing built of them.

The vendors' SDKs are the reference for what is sent and for what a failure means; tests
hold each request and each failure here against theirs. They are not used to ask, since
what they do besides costs several times the request itself.
"""

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self
from urllib.request import getproxies, proxy_bypass

from synthkd.errors import ConfigError
from synthkd.records import Json
from synthkd.teachers.base import NOTHING_SAID, Answer, AttemptError
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.server import Server

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

LARGEST = 512 * 2**20  # bytes of one answer; far more than any, far less than no end
PATIENCE = 600.0  # seconds for a whole answer, as the SDKs wait by default

_CONNECT = 5.0  # seconds to open a connection, as in the SDKs
_KEEP = 4.0  # seconds an idle connection is kept: uvicorn hangs up after five
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_write_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_LARGE = 2**20  # bytes over which aiohttp wants a body as a file, to send it in pieces


def write_json(body: Json) -> bytes:
    """Return `body` as the SDKs write it, to the byte.

    Half a surrogate pair, which they cannot send, goes as the escape that JSON has for it.

    Raises:
        ValueError: It holds NaN or an infinity, which JSON cannot say.
    """
    try:
        return _write(body).encode()
    except UnicodeEncodeError:
        return _write_ascii(body).encode()


@dataclass(slots=True)
class Transport:
    """Connections to one server, kept open between requests; made at the first one.

    `headers` go with every request. `seconds` is how long a whole answer may take, if
    someone states it. How many requests are in flight is for the caller to bound. Proxies
    are those of the environment; cookies are not kept, and redirects not followed: the
    key is for one host.
    """

    server: Server
    headers: Mapping[str, str] = field(repr=False)
    seconds: float | None = None
    _session: "ClientSession | None" = field(default=None, init=False, repr=False)

    async def post(
        self,
        path: str,
        body: Json,
        *,
        holds: str,
        headers: Mapping[str, str] | None = None,
        seconds: float = PATIENCE,
    ) -> Answer:
        """Return the answer to `body`, a whole JSON object that names `holds`, unread.

        Raises:
            AttemptError: There is none.
        """
        from aiohttp import ClientError, ClientTimeout

        session = self._session or self._open()
        sent = write_json(body)
        patience = self.seconds or seconds
        try:
            async with session.post(
                self.server.url + path,
                data=sent if len(sent) < _LARGE else io.BytesIO(sent),
                headers=headers,
                timeout=ClientTimeout(total=patience, sock_connect=_CONNECT),
                allow_redirects=False,
            ) as response:
                received = await _read(response)
                status, said = response.status, response.headers
        except TimeoutError as error:
            raise self.server.lose(error, f"none came whole in {patience:g} s") from error
        except (ClientError, OSError) as error:
            raise self.server.lose(error) from error
        heard = {name.lower(): value for name, value in said.items()}
        if not 200 <= status < 300:  # noqa: PLR2004  what HTTP calls a success
            raise self.server.refuse(status, heard, received)
        return Answer(self.server.check(received, holds, heard), headers=heard)

    async def close(self) -> None:
        """Give back the connections; another request would make new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> "ClientSession":
        from aiohttp import ClientSession, DummyCookieJar, TCPConnector

        self._session = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=_KEEP),
            cookie_jar=DummyCookieJar(),
            headers={
                "accept": "application/json",
                "accept-encoding": "gzip, deflate",
                "content-type": "application/json",
                "user-agent": f"synthkd/{version('synthkd')}",
                **self.headers,
            },
            # aiohttp would look into the environment, and a netrc file, for every request.
            proxy=_find_proxy(self.server),
        )
        return self._session


async def _read(response: "ClientResponse") -> bytes:
    """Return the body, unpacked, giving up on one without an end."""
    blocks, size = [], 0
    async for block in response.content.iter_any():
        blocks.append(block)
        size += len(block)
        if size > LARGEST:
            raise AttemptError(
                f"{response.url} sent more than {LARGEST // 2**20} MiB, which is no answer",
                status=response.status,
            )
    return b"".join(blocks)


def _find_proxy(server: Server) -> str | None:
    if proxy_bypass(server.host):
        return None
    proxies = getproxies()
    return proxies.get(server.url.partition(":")[0]) or proxies.get("all")


class Protocol(NamedTuple):
    """Where a protocol is at home, and what it asks of options and of a request's headers."""

    home: str
    variable: str
    find_mistakes: Callable[[TeacherOptions, Sequence[Server]], list[str]]
    headers: Callable[[Server], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class ServedTeacher:
    """What teachers behind a server have in common.

    Several of them may share `endpoint`, which is part of every request key: then they
    are one teacher behind several addresses or keys, and any of them may answer.
    """

    batch_size: ClassVar[int] = 1

    server: Server
    endpoint: str
    model: str
    host: str
    transport: Transport = field(repr=False, compare=False)

    @classmethod
    def connect(cls, options: TeacherOptions, *, needs_key: bool = True) -> Self:
        """Return the teacher at the first address with the first key.

        Raises:
            ConfigError: A key is missing, or an option cannot be sent.
        """
        return cls.connect_all(options, needs_key=needs_key)[0]

    @classmethod
    def connect_all(cls, options: TeacherOptions, *, needs_key: bool = True) -> tuple[Self, ...]:
        """Return the teacher once for each address and key; nothing is sent yet."""
        raise NotImplementedError

    @classmethod
    def _connect_each(
        cls,
        options: TeacherOptions,
        protocol: Protocol,
        *,
        needs_key: bool,
        **own: Any,  # noqa: ANN401 - the fields that a protocol adds
    ) -> tuple[Self, ...]:
        """Return the teacher once for each address and key, all of one endpoint."""
        variables = options.key_variables or (protocol.variable,)
        servers = Server.read_all(options.base_url, home=protocol.home, variables=variables)
        mistakes = Server.find_pool_mistakes(servers, options.host, needs_key=needs_key)
        mistakes += [
            f"the environment variable {name} is not set, and key_variables names it; export "
            f"{name}=..., or leave it out"
            for name in options.key_variables
            if needs_key and not servers[0].is_home and not os.environ.get(name, "").strip()
        ]
        if mistakes := [*mistakes, *protocol.find_mistakes(options, servers)]:
            raise ConfigError(f"the teacher {options.model!r} cannot be asked:", mistakes)
        return tuple(
            cls(
                server=server,
                endpoint=servers[0].url,
                model=options.model_name,
                host=options.host or server.host,
                transport=Transport(server, protocol.headers(server), options.timeout_s),
                **own,
            )
            for server in servers
        )

    @property
    def limit_name(self) -> str:
        """Who counts its requests: equal names share one limit."""
        return self.server.limit_name

    @property
    def defaults(self) -> Mapping[str, Json]:
        """What it is told where parameters do not say; part of the request key like they are."""
        return NOTHING_SAID

    def vocabulary(self) -> None:
        """Know nothing of it: tokens come as text, if they come."""

    async def close(self) -> None:
        """Give back the connections."""
        await self.transport.close()
