"""Ask for numbered labels in batches and print them; a process to be killed: URL PROVIDER JOURNAL FIRST LAST."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from autointerp.config import ModelConfig
from autointerp.llm import Journal, Reply, connect
from tests.llm.asking import label_request


async def main(url: str, provider: Any, path: Path, first: int, last: int) -> None:
    config = ModelConfig(provider=provider, model="m", base_url=url, batch=True, batch_size=10, batch_poll_s=0.05)
    with Journal(path) as journal:
        async with connect(config, journal) as model:
            outcomes = await asyncio.gather(*(model.ask(label_request(f"feature {i}")) for i in range(first, last)))
    for outcome in outcomes:
        assert isinstance(outcome, Reply), outcome
        sys.stdout.write(f"{outcome.answer.label}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
