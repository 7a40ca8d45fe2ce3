"""What the unmodified client of Neuronpedia gets from a run that is served: all that docs/serve.md shows of it.

It asks port 3000 of this machine and no other.
"""

import ast
import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import autointerp
from autointerp.errors import ServeError
from autointerp.serve.app import make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.docs.pages import ROOT, read_page
from tests.docs.world import in_small
from tests.serve.clients import needs_neuronpedia, printed_by_neuronpedia
from tests.serve.serving import answering

PORT = 3000


@contextlib.contextmanager
def served_at_its_port(run: Path) -> Iterator[autointerp.Client]:
    client = autointerp.open(run)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", PORT), timeout=1):
            pytest.skip(f"something else answers at port {PORT}, the only one that Neuronpedia's client asks")
        try:
            stack.enter_context(answering(make_app(Serving(client, Limits())), PORT))
        except ServeError as error:
            pytest.skip(f"port {PORT}, the only one that Neuronpedia's client asks, can't be had: {error}")
        yield client


@pytest.mark.slow
@needs_neuronpedia
def test_neuronpedias_client_does_all_that_the_page_shows(planted_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(planted_runs / "runs/demo", tmp_path / "run", ignore=shutil.ignore_patterns("notes.sqlite*"))
    blocks = [block.text for block in read_page(ROOT / "docs/serve.md").blocks if "import neuronpedia" in block.text]
    (program,) = blocks
    program = in_small(program).replace("all-minilm-l6-v2", "planted").replace("3-res-2k", "0-res-12")
    program = program.replace("it raises an exception", "the piano on a river")
    with served_at_its_port(tmp_path / "run") as client:
        said = printed_by_neuronpedia(program, tmp_path)
        (kept,) = client.lists
        uploaded = client.features.search("an eagle", 1, source="my-model@1-my-res")
    printed = [line for line in said.splitlines() if not line.startswith(("Sending ", "Got a successful"))]
    assert printed[0].startswith("piano 0.")
    found = dict(ast.literal_eval(printed[1]))
    assert {"7", "1"} <= set(found)
    by_token = {token.strip(): features for token, features in ast.literal_eval(printed[2])}
    assert (by_token["piano"], by_token["river"]) == ([7], [1])
    values = ast.literal_eval(printed[3])
    assert [place for place, value in enumerate(values) if value > 0] == [1]
    assert "index='7'" in printed[4]
    assert printed[4].endswith("['Errors']")
    assert printed[5] == "birds of prey"
    assert [of.id for of in uploaded] == ["my-model@1-my-res:0"]
    assert (kept.name, [of.label for of in kept.features], kept.items[0].note) == (
        "Errors",
        ["piano"],
        "found by words",
    )
