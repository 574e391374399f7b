"""What model services say by machine: recorded as it stands, and decided by nobody.

Hugging Face: a model's folder with its card, or the JSON of `https://huggingface.co/api/models/ID`.
OpenRouter: the JSON of `https://openrouter.ai/api/frontend/models/find`, or one model of it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from synthkd.errors import ConfigError
from synthkd.rights.cards import read_front_matter, read_json
from synthkd.rights.licenses import read_license
from synthkd.rights.model_names import owned_name

_HUB = "https://huggingface.co/api/models/ID"
_ROUTER = "https://openrouter.ai/api/frontend/models/find"
# Whether its maker allows training on what comes out (OpenRouter's "distillable"), and what
# becomes of what is sent; null is what nobody said.
_OPENROUTER = ("is_trainable_text", "is_trainable_image")
_DATA_POLICY = ("training", "retainsPrompts", "canPublish")
_CARD = ("license", "license_name", "license_link", "base_model", "base_model_relation", "datasets")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What was recorded of one model: its names, its license as SPDX where that is one, flags.

    `flags` are what the service said, word for word, as `SERVICE.FIELD`. `day` is the day the
    service says that the model was last changed, where it does.
    """

    names: tuple[str, ...]
    license: str | None = None
    url: str = ""
    day: date | None = None
    flags: Mapping[str, str] = field(default_factory=dict)


def read_metadata(path: Path, model: str = "") -> Metadata:
    """Return what a folder or a JSON file says of `model`, which may be left out where it is one.

    Raises:
        ConfigError: It says nothing of a model, or of several and not of `model`.
    """
    if path.is_dir():
        card = read_front_matter(path / "README.md")
        if not card:
            raise ConfigError(f"{path} has no README.md with a model card; name another folder")
        return _read_card(card, model, {})
    told = read_json(path)
    if not told:
        raise ConfigError(
            f"{path} is neither a model's folder nor the JSON of one; save what one of these "
            f"returns: {_HUB} or {_ROUTER}"
        )
    if isinstance(told.get("cardData"), Mapping) or "modelId" in told or "gated" in told:
        return _read_hub(told, model)
    return _read_router(_choose(told, path, model))


def _read_hub(told: Mapping[str, Any], model: str) -> Metadata:
    card = told.get("cardData") or {}
    name = str(told.get("id") or told.get("modelId") or model)
    flags = {key: told[key] for key in ("gated", "sha", "lastModified") if key in told}
    return _read_card(card, name, flags)


def _read_card(card: Mapping[str, Any], name: str, more: Mapping[str, Any]) -> Metadata:
    said = {**{key: card[key] for key in _CARD if key in card}, **more}
    return Metadata(
        names=(name,) if name else (),
        license=_read_license(card),
        url=f"https://huggingface.co/{name}" if "/" in name else "",
        day=_read_day(more.get("lastModified")),
        flags={f"huggingface.{key}": _spell(value) for key, value in said.items()},
    )


def _read_license(card: Mapping[str, Any]) -> str | None:
    """Return the license of a card; one of its own name (`license: other`) as a LicenseRef."""
    own = re.sub(r"[^A-Za-z0-9.-]+", "-", str(card.get("license_name") or ""))
    for text in (str(card.get("license", "")), f"LicenseRef-{own.strip('-')}"):
        try:
            return read_license(text)
        except ValueError:
            continue
    return None


def _choose(told: Mapping[str, Any], path: Path, model: str) -> Mapping[str, Any]:
    """Return the model that is meant of those that OpenRouter listed."""
    listed = [*_find_models(told)]
    if len(listed) == 1 and not model:
        return listed[0]
    meant = owned_name(model)
    for each in listed if model else ():
        if meant in {owned_name(str(each.get(key) or "")) for key in ("slug", "hf_slug", "id")}:
            return each
    names = ", ".join(str(each.get("slug") or each.get("id")) for each in listed[:3])
    raise ConfigError(
        f"{path} lists {len(listed)} models{f' ({names}, ...)' if names else ''}, and "
        f"{f'none of them is {model!r}' if model else 'does not say which is meant'}; "
        "name one of them with --model"
    )


def _find_models(told: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(told, Mapping):
        if "slug" in told or "is_trainable_text" in told:
            yield told
            return
        for key in ("data", "models"):
            yield from _find_models(told.get(key))
    elif isinstance(told, list):
        for each in told:
            yield from _find_models(each)


def _read_router(told: Mapping[str, Any]) -> Metadata:
    endpoint = told.get("endpoint") or {}
    policy = endpoint.get("data_policy") or {}
    said = {key: told[key] for key in _OPENROUTER if key in told}
    said |= {f"data_policy.{key}": policy[key] for key in _DATA_POLICY if key in policy}
    said |= {key: endpoint[key] for key in ("provider_name",) if key in endpoint}
    names = dict.fromkeys(str(told[key]) for key in ("slug", "hf_slug") if told.get(key))
    return Metadata(
        names=tuple(names),
        url=f"https://openrouter.ai/{told['slug']}" if told.get("slug") else "",
        day=_read_day(told.get("updated_at")),
        flags={f"openrouter.{key}": _spell(value) for key, value in said.items()},
    )


def _read_day(text: object) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def _spell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
