"""What a run tells while it goes on."""

import asyncio

import pytest

from autointerp.run.progress import told_meanwhile


def test_how_far_work_is_is_told_also_while_none_of_it_ends_and_not_after() -> None:
    told: list[str] = []

    async def work() -> None:
        enough = asyncio.Event()

        def tell() -> None:
            told.append("0 of 1")
            if len(told) == 3:
                enough.set()

        async with told_meanwhile(tell, every_s=0.001):
            await enough.wait()
        n_told = len(told)
        await asyncio.sleep(0.02)
        assert len(told) == n_told

    asyncio.run(work())
    assert set(told) == {"0 of 1"}


def test_what_ends_the_work_is_raised() -> None:
    async def work() -> None:
        async with told_meanwhile(lambda: None, every_s=0.001):
            raise ValueError("no key")

    with pytest.raises(ValueError, match="no key"):
        asyncio.run(work())
