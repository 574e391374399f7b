"""What is known of the rights of some rows: their license, and whatever a person stated beside.

    license: CC-BY-SA-4.0                  # all that most sources need
    attribution: {title: Help pages, author: A. Writer, uri: https://example.org/help}
    personal_data: none

Nothing here is guessed. What nobody stated is left out, and a policy says what follows from
that; only a license of one's own, `LicenseRef-client-NAME`, tells whose data it is.
"""

import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from synthkd.records import Contribution, Json, canonical_json
from synthkd.rights.licenses import NOASSERTION, read_license, read_source_license

Kind = Literal[
    "public_dataset", "licensed", "client", "user_data", "crawl", "synthetic", "own", "other"
]
PersonalData = Literal["none", "pseudonymised", "personal", "special"]
Signal = Literal["robots", "tdmrep", "aipref", "cawg", "terms"]

_TERRITORY = re.compile(r"-?[A-Z]{2}[A-Z0-9-]{0,8}")
_CLIENT = re.compile(r"\bLicenseRef-client-([A-Za-z0-9.-]+)")


def _spell_territory(value: object) -> object:
    listed = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(listed, list | tuple):
        return listed
    return [each.strip().upper() if isinstance(each, str) else each for each in listed]


def _read_territory(codes: tuple[str, ...]) -> tuple[str, ...]:
    if wrong := [code for code in codes if not _TERRITORY.fullmatch(code)]:
        raise ValueError(
            f"{', '.join(map(repr, wrong))} names no territory; write codes such as EU, UK or DE, "
            "and -US for one that is excluded"
        )
    return codes


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_word(value: object) -> object:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attribution(_Fact):
    """Whom rows are owed to, as their license asks it to be said."""

    title: str | None = Field(default=None, description="What the work is called.")
    author: str | None = Field(default=None, description="Who made it, as they want to be named.")
    uri: str | None = Field(default=None, description="Where it is.")
    license_uri: str | None = Field(default=None, description="Where its license is.")
    changes: str | None = Field(default=None, description="What was changed in it.")


class Facts(_Fact):
    """The rights of some rows. Whatever names a column may name one inside another: `meta.by`."""

    license: Annotated[str, AfterValidator(read_source_license)] = Field(
        description="SPDX license expression of the rows, e.g. CC0-1.0, or "
        "LicenseRef-client-NAME; NOASSERTION where nobody knows, which allows nothing."
    )
    license_declared: str | None = Field(
        default=None, description="What the source says its license is, in its own words."
    )
    concluded_by: str | None = Field(
        default=None, description="Who read that and concluded `license` from it."
    )
    license_column: str | None = Field(
        default=None, description="The column with a row's own license, where rows differ."
    )
    attribution: Attribution | None = Field(default=None, description="Whom the rows are owed to.")
    attribution_columns: Attribution | None = Field(
        default=None, description="The columns with a row's own attribution, e.g. {author: by}."
    )
    kind: Kind | None = Field(default=None, description="Where the rows are from.")
    rights_holder: str | None = Field(default=None, description="Who holds the rights.")
    client: str | None = Field(
        default=None, description="Whose contract the rows are under: they are for nobody else."
    )
    territory: Annotated[
        tuple[str, ...], BeforeValidator(_spell_territory), AfterValidator(_read_territory)
    ] = Field(default=(), description="Where the rows may be used, e.g. [EU, UK]; -US: not there.")
    retention_until: date | None = Field(
        default=None, description="The day until which the rows may be kept."
    )
    reserved: Annotated[Literal["yes", "no", "unknown"] | None, BeforeValidator(_as_word)] = Field(
        default=None, description="Whether text and data mining of the rows is reserved."
    )
    reserved_in: Annotated[tuple[Signal, ...], BeforeValidator(_as_list)] = Field(
        default=(), description="Where that was looked for."
    )
    personal_data: PersonalData | None = Field(
        default=None, description="What the rows hold that is about people."
    )
    subject: str | None = Field(
        default=None, description="The column that says which person a row is about."
    )
    lawful_basis: str | None = Field(
        default=None, description="Why personal data may be used, e.g. consent or contract."
    )
    controller: str | None = Field(
        default=None, description="Who is responsible for the personal data."
    )
    evidence_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of a file that shows all this: a license text, a contract.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse a client and a kind that the license contradicts."""
        named = find_client(self.license)
        if named and self.client and self.client.casefold() != named.casefold():
            raise ValueError(
                f"the client is {self.client!r}, and the license {self.license} is that of "
                f"{named!r}; write the same name, or drop the client"
            )
        if self.client and self.kind not in {None, "client", "user_data"}:
            raise ValueError(
                f"kind is {self.kind!r}, and the rows are those of the client {self.client!r}; "
                "write kind: client, or drop the client"
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_unstated(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what nobody stated, so that a fact that is new here changes no digest."""
        dumped: dict[str, Any] = dump(self)
        return {
            name: value
            for name, value in dumped.items()
            if value or name == "license" or name not in Facts.model_fields
        }

    def describe(
        self,
        role: Literal["seed", "few_shot"],
        reach: Literal["content", "transform"],
        name: str,
        *,
        own_license: str | None = None,
        span: int = 0,
    ) -> Contribution:
        """Return what rows of these facts, called `name`, bring to a sample.

        `own_license` is that of the row, as `find_license` gives it; `span` is one of `SPANS`.
        """
        license_ = own_license or self.license
        client = self.client or find_client(license_)
        return Contribution(
            role,
            reach,
            name,
            license_,
            "unknown" if license_ == NOASSERTION else license_,
            kind=self.kind or ("client" if client else ""),
            client=client,
            personal_data=self.personal_data or "",
            reserved="" if self.reserved in {None, "unknown"} else str(self.reserved),
            territory=" ".join(self.territory),
            retention_until=self.retention_until.isoformat() if self.retention_until else "",
            grade="attested" if self.concluded_by and own_license is None else "declared",
            span=span,
        )

    def find_license(self, row: Mapping[str, Json]) -> str | None:
        """Return the license of its own that `row` states; None if it states none.

        A list of them binds by all. What cannot be read as a license is NOASSERTION:
        somebody said something, and nobody knows what it allows.
        """
        if self.license_column is None:
            return None
        stated = find_value(row, self.license_column)
        listed = stated if isinstance(stated, list) else [stated]
        texts = [str(each).strip() for each in listed if each is not None and str(each).strip()]
        return _read_stated(tuple(texts)) if texts else None

    def find_subject(self, row: Mapping[str, Json]) -> str | None:
        """Return the person that `row` is about, as it refers to them; None if it does not."""
        stated = find_value(row, self.subject) if self.subject is not None else None
        if stated is None or isinstance(stated, dict | list):
            return None
        return str(stated).strip() or None

    @property
    def columns(self) -> list[str]:
        """The columns that it names."""
        owed = (
            self.attribution_columns.model_dump(exclude_none=True).values()
            if self.attribution_columns
            else ()
        )
        return [name for name in (self.license_column, self.subject, *owed) if name is not None]

    def dump(self) -> str:
        """Return all that was stated but the license, as canonical JSON of texts."""
        stated = self.model_dump(mode="json", include=set(Facts.model_fields), exclude_none=True)
        client = self.client or find_client(self.license)
        implied = {"client": client, "kind": self.kind or "client"} if client else {}
        return canonical_json({k: v for k, v in (stated | implied).items() if k != "license"})


def find_client(license_: str) -> str:
    """Return the client whose terms `license_` names; "" for none, or where others may be chosen.

    >>> find_client("LicenseRef-client-acme AND CC-BY-4.0")
    'acme'
    """
    found = dict.fromkeys(_CLIENT.findall(license_))
    return "" if " OR " in license_ else ", ".join(found)


def find_value(row: Mapping[str, Json], column: str) -> Json:
    """Return what stands in `column` of `row`, or inside it: `meta.license`; None if nothing."""
    if column in row:
        return row[column]
    value: Json = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


@lru_cache(maxsize=4096)
def _read_stated(texts: tuple[str, ...]) -> str:
    try:
        read = dict.fromkeys(map(read_license, texts))
        return next(iter(read)) if len(read) == 1 else read_license(f"({') AND ('.join(read)})")
    except ValueError:
        return NOASSERTION
