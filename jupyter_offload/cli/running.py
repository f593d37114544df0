"""Runs one command: its loop, its keeper client, and what becomes of errors."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from ..api.client import AsyncKeeperClient
from ..api.problems import BadInput, Broken, NotFound, OffloadError, ProblemCode, Unavailable
from . import BAD_INPUT, FAILED, INTERRUPTED, NOT_FOUND, OK, UNAVAILABLE
from .output import Output

#: A site may take long to look at; everything else answers in milliseconds.
REQUEST_TIMEOUT_S = 120.0
NO_CLUSTER = "There are none; make one with: jupyter offload clusters new NAME"

Command = Callable[[AsyncKeeperClient, Output, argparse.Namespace], Awaitable[int]]


def run(command: Command, arguments: argparse.Namespace) -> int:
    """Run the command and return the exit status; every error ends here as a sentence with its remedy."""
    output = Output(as_json=getattr(arguments, "json", False))
    try:
        return asyncio.run(_with_client(command, output, arguments))
    except OffloadError as error:
        output.error(error)
        return exit_status(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:  # a folder that cannot be written, a full disk
        output.error(Broken(ProblemCode.internal, f"{error.strerror or error}: {error.filename or 'this host'}.",
                            hint="Free space or mend the permissions, then try again."))  # fmt: skip
        return FAILED
    finally:
        output.end_progress()


def exit_status(error: OffloadError) -> int:
    """Return the exit status of an error."""
    # An unknown profile or environment is a mistake in the request's body for HTTP; for a script it is one more missing thing.
    if isinstance(error, NotFound) or error.code.value.startswith("unknown-"):
        return NOT_FOUND
    if isinstance(error, Unavailable):
        return UNAVAILABLE
    return BAD_INPUT if isinstance(error, BadInput) else FAILED


async def _with_client(command: Command, output: Output, arguments: argparse.Namespace) -> int:
    client = AsyncKeeperClient(timeout_s=REQUEST_TIMEOUT_S)
    async with output.working("Asking the keeper"):
        try:
            status = await command(client, output, arguments)
        finally:
            await client.close()
    sys.stdout.flush()
    return status
