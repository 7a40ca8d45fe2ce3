"""Requests that no client of ours sends: each is refused with a line, and none is an error of the server's own."""

import pytest

from tests.serve.asking import SOURCE, ask

RUN = "/api/library/v1/runs/demo/"
HEADERS = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (RUN + "search", '{"query": "river", "top_k": 1' + "0" * 30 + "}", 422),
        (RUN + "search", '{"query": "river", "top_k": 9000000000000}', 400),
        (RUN + "search", '{"query": "river", "min_relevance": NaN}', 400),
        (RUN + "search", '{"query": "river", "where": {"min_density": NaN}}', 422),
        (RUN + "search", '{"query": "river", "no_such": 1}', 422),
        (RUN + "search", '{"query": ' + "[" * 100_000, 400),
        (RUN + "search", '{"query": "' + "a" * 9 * 2**20 + '"}', 413),
        (RUN + "describe", '{"features": [9223372036854775807]}', 404),
        (RUN + "describe", '{"features": [-9223372036854775808]}', 404),
        (RUN + "activation-histograms", '{"features": [9223372036854775807]}', 404),
        (RUN + "strongest", '{"features": [1], "source": "x", "n": -5}', 422),
        (RUN + "contexts", '{"feature": 1, "kind": "\' OR 1=1"}', 422),
        (RUN + "firings", '{"texts": ' + str(["a"] * 300).replace("'", '"') + "}", 422),
        (RUN + "firings", '{"texts": [' + "[" * 900 + "]" * 900 + "]}", 400),
        (RUN + "firings", '{"texts": ["a"], "edits": [{"source": "x", "edits": []}]}', 400),
        (RUN + "firings", f'{{"texts": ["a"], "scope": {{"kind": "role"}}, "source": "{SOURCE}"}}', 200),
        ("/api/library/v1/runs/..%2f..%2fetc/search", '{"query": "river"}', 404),
        ("/api/library/v1/logits", '{"messages": [{"role": "", "content": ""}]}', 400),
        ("/api/library/v1/chat", '{"messages": [], "model": {"base_model": "x"}}', 422),
        (RUN + "sql", '{"query": "FROM read_text(\'/etc/passwd\')"}', 400),
    ],
)
def test_a_hostile_request_is_refused_in_a_line(address: str, path: str, body: str, status: int) -> None:
    response = ask(address, path, content=body.encode(), headers=HEADERS)
    assert response.status_code == status, response.text[:300]
    if status != 200:
        assert len(response.text) < 3_000
        assert "root:" not in response.text
