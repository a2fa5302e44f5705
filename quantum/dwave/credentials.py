"""The user's own client and solver, from D-Wave's own stores; no token is kept, shown or passed on here."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote, quote_plus

from quantum.jobs.errors import QPUError

ENVIRONMENT = ("DWAVE_API_TOKEN", "DWAVE_API_ENDPOINT", "DWAVE_API_SOLVER", "DWAVE_PROFILE", "DWAVE_CONFIG_FILE")
"""What D-Wave's client reads besides its configuration files."""


def scrubbed(text: str, client: Any = None) -> str:
    """A message without any token that could be in it.

    Args:
        text: of an exception of the client.
        client: whose token it may show.
    """
    tokens = [os.environ.get("DWAVE_API_TOKEN"), getattr(getattr(client, "config", None), "token", None)]
    for token in filter(None, tokens):
        # libraries quote what they complain about
        for shown in {token, token.strip(), repr(token)[1:-1], quote(token), quote_plus(token)} - {""}:
            text = text.replace(shown, "***")
    return text


def open_client() -> Any:
    """D-Wave's client, configured by the user's environment and files.

    Raises:
        ValueError: no credentials, or a configuration that cannot be read; says where they are looked for.
    """
    from dwave.cloud import Client
    from dwave.cloud.config import (
        get_configfile_paths,
        get_default_configfile_path,
    )
    from dwave.cloud.exceptions import ConfigFileError

    try:
        client = Client.from_config(client="qpu")
    except (ValueError, ConfigFileError) as error:
        # a configuration's error may quote a line of the file, and that may be the token's
        reason = str(error) if str(error) == "API token not defined" else type(error).__name__
        places = ", ".join(get_configfile_paths()) or f"{get_default_configfile_path()} (which is not there)"
        raise ValueError(
            f"no credentials for D-Wave ({reason}); they are looked for in {ENVIRONMENT[0]} and in {places}; set one, "
            "or run `dwave config create`"
        ) from None
    token = str(client.config.token)
    if not (token.isascii() and token.isprintable()) or any(map(str.isspace, token)):
        client.close(wait=False)
        raise ValueError(
            f"the token in {ENVIRONMENT[0]} or the configuration file has characters that no token has, such as a line "
            "break at its end; set it again"
        )
    return client


def find_solver(client: Any, name: str | None) -> Any:
    """A solver by its name.

    Args:
        client: of D-Wave.
        name: None for the one that the configuration names, or else the least busy.

    Raises:
        ValueError: no such solver, with the names of those there are; or a token that is refused.
        QPUError: the service cannot be reached, or fails.
    """
    import requests
    from dwave.cloud.exceptions import SolverAuthenticationError, SolverNotFoundError

    try:
        try:
            return client.get_solver() if name is None else client.get_solver(name=name)
        except SolverNotFoundError:
            known = sorted({solver.name for solver in client.get_solvers()})
            asked = "the configured one" if name is None else repr(name)
            raise ValueError(
                f"solver is {asked}, which is not there or not online; choose one of {', '.join(known) or '(none)'}"
            ) from None
    except SolverAuthenticationError:
        raise ValueError(
            f"the token is refused by {client.config.endpoint}; check {ENVIRONMENT[0]} and the configuration file"
        ) from None
    except (requests.exceptions.RequestException, OSError) as error:
        text = scrubbed(str(error), client)
        raise QPUError(f"cannot list solvers of {client.config.endpoint}: {text}") from None
