"""Ask a server for numbered labels and print them; a process to be killed: URL JOURNAL FIRST LAST."""

import asyncio
import sys
from pathlib import Path

from autointerp.config import ModelConfig
from autointerp.llm import Journal, Reply, connect
from tests.llm.asking import label_request


async def main(url: str, path: Path, first: int, last: int) -> None:
    config = ModelConfig(model="m", base_url=url, concurrency=4)
    with Journal(path) as journal:
        async with connect(config, journal) as model:
            outcomes = await asyncio.gather(*(model.ask(label_request(f"feature {i}")) for i in range(first, last)))
    for outcome in outcomes:
        assert isinstance(outcome, Reply), outcome
        sys.stdout.write(f"{outcome.answer.label}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
