"""A name that is no folder here: whether a model hub has a model of that name.

transformers takes it for a hub id, and tries for a minute and more where no hub answers.
One question, asked before that, tells at once.
"""

import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from synthkd.errors import ConfigError, MissingExtraError

_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


def find_on_hub(name: str, revision: str = "main") -> Path | None:
    """Return None if the hub has the model `name`; else the folder that was downloaded before.

    Raises:
        ConfigError: There is neither.
        MissingExtraError: What asks a hub is not installed.
    """
    if find_spec("huggingface_hub") is None:
        raise MissingExtraError("looking for a model on a hub", extra="train")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        with suppress(EntryNotFoundError):  # a model without it, such as a tokenizer alone
            get_hf_file_metadata(hf_hub_url(name, _FILES[0], revision=revision))
    except HFValidationError as error:
        reason = str(error).splitlines()[0].rstrip(".:")
        raise ConfigError(f"{name!r} is no folder here, and no hub id: {reason}") from None
    except GatedRepoError:
        reason, cure = "asks for a login", "accept its terms there and set HF_TOKEN"
    except RepositoryNotFoundError:
        reason, cure = "has no such model, or a private one", "set HF_TOKEN if it is private"
    except RevisionNotFoundError:
        reason, cure = f"has it in no revision {revision!r}", "name another revision"
    except HfHubHTTPError as error:
        reason, cure = f"answered {error.response.status_code}", "try again later"
    except Exception as error:  # noqa: BLE001 - the hub's HTTP client is its own matter, and errors
        said = next(iter(str(error).splitlines()), "").rstrip(".") or type(error).__name__
        reason, cure = f"cannot be reached ({said})", "run where it can be"
    else:
        return None
    folder = _find_downloaded(name, revision)
    if folder:
        return folder
    raise ConfigError(
        f"there is no folder {name!r} here, so it was looked for as a hub id; {constants.ENDPOINT} "
        f"{reason}, and it was not downloaded before. Write the path of a folder that "
        f"save_pretrained wrote, or another hub id (organization/name), or {cure}"
    )


def _find_downloaded(name: str, revision: str) -> Path | None:
    """Return the folder in the hub's cache that holds some of a model."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(name, file, revision=revision) for file in _FILES)
    return next((Path(path).parent for path in found if isinstance(path, str)), None)
