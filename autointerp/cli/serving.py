"""The command that serves runs over HTTP.

As in `main`, what a command needs is imported inside it.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from autointerp.errors import FileError, ServeError, file_error

KEY_VARIABLE = "AUTOINTERP_API_KEY"


def serve(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", readable=False, help="run folders")],
    host: Annotated[str, typer.Option(help="address to listen at; others than 127.0.0.1 need a key")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen at; 0 for a free one")] = 8000,
    api_key_file: Annotated[
        Path | None, typer.Option(readable=False, help=f"holds the key that requests need; or set {KEY_VARIABLE}")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="another name by which the server may be called; repeatable")
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option(metavar="NAME=SOURCE", help="another name of a source for clients; repeatable")
    ] = None,
    longest_prompt: Annotated[
        int | None, typer.Option(min=1, metavar="TOKENS", help="of a chat; as much as the model reads where unset")
    ] = None,
    longest_answer: Annotated[int, typer.Option(min=1, metavar="TOKENS", help="who asks for more gets so many")] = 2048,
    n_waiting: Annotated[int, typer.Option(min=0, metavar="N", help="requests that may wait; more are refused")] = 64,
    seconds: Annotated[float, typer.Option(min=0.1, metavar="S", help="that a request may take")] = 300.0,
    ray: Annotated[bool, typer.Option("--ray", help="have the model in several processes, on Ray Serve")] = False,
    replicas: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="with --ray: how many; one a GPU where unset")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="with --ray: of a cluster; else Ray is started here")
    ] = None,
) -> None:
    """Serve pages to look at features, and answer clients over HTTP: Goodfire's and OpenAI's."""
    from autointerp.library.client import open

    key, aliases = _key(api_key_file), _aliases(alias or [])
    client = open(runs)

    from autointerp.serve.app import Access, make_app
    from autointerp.serve.guard import is_loopback
    from autointerp.serve.limits import Limits
    from autointerp.serve.server import serve as serve_app
    from autointerp.serve.serving import Serving

    is_private = is_loopback(host)
    if not is_private and key is None:
        raise ServeError(
            f"who reaches {host} could run the model", f"give a key by --api-key-file or {KEY_VARIABLE}, or stay local"
        )
    hosts = {host, "127.0.0.1", "::1", "localhost", *(allow_host or [])} if is_private else None
    limits = Limits(n_waiting=n_waiting, seconds=seconds, longest_prompt=longest_prompt, longest_answer=longest_answer)
    if not ray and (replicas is not None or ray_address is not None):
        raise ServeError("--replicas and --ray-address are of a server on Ray", "add --ray, or leave them away")

    def answer(serving: Serving, troubles: Iterable[str]) -> None:
        for trouble in troubles:
            typer.echo(trouble, err=True)
        serve_app(make_app(serving, Access(hosts, key)), host, port, lambda at: typer.echo(f"Pages and APIs at {at}"))

    if not ray:
        serving = Serving(client, limits, aliases)
        answer(serving, serving.warm())
        return
    from autointerp.serve.deployment import deployed
    from autointerp.serve.replica import Served
    from autointerp.serve.spread import SpreadServing

    served = Served(tuple(str(run.absolute()) for run in runs), str(Path.cwd()), limits, aliases)
    with deployed(served, replicas, ray_address) as having:
        spread = SpreadServing(client, limits, aliases, having)
        answer(spread, [*spread.warm_store(), *having.troubles()])


def _key(file: Path | None) -> str | None:
    """The key, of a file or else of the environment.

    Raises:
        FileError: If the file can't be read, or holds none.
    """
    if file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise file_error(error, file) from error
    if not key or not key.isascii():
        raise FileError(f"{file} holds no key", "write one into it, in ASCII")
    return key


def _aliases(named: list[str]) -> dict[str, str]:
    pairs = [name.partition("=") for name in named]
    if wrong := [name for (alias, _, source), name in zip(pairs, named, strict=True) if not alias or not source]:
        raise ServeError(f"--alias {wrong[0]} names no source", "write it as NAME=model@source")
    return {alias: source for alias, _, source in pairs}
