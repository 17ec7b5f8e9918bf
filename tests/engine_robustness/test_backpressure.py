"""Sources without end: the engine takes programs only a small window ahead of the results that were taken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from groundrun.engine import Engine

pytestmark = pytest.mark.exec

TAKEN = 40
AHEAD = 8


class Endless:
    """Programs without end, and how many were taken."""

    def __init__(self) -> None:
        self.given = 0

    def __iter__(self) -> Iterator[str]:
        while True:
            self.given += 1
            yield f"print({self.given - 1})"


@pytest.mark.parametrize("ordered", [True, False], ids=["map", "stream"])
def test_little_is_taken_ahead(rung: str, ordered: bool) -> None:
    """At most eight a worker beyond those whose results were taken."""
    source = Endless()
    with Engine(isolation=rung, workers=2) as engine:
        results = engine.map(source) if ordered else engine.stream(source)
        for count, _ in enumerate(results, start=1):
            assert source.given <= count + AHEAD * engine.workers
            if count == TAKEN:
                break
        assert source.given >= TAKEN
        assert engine.run("print('still')").text == "still\n"


@pytest.mark.parametrize("ordered", [True, False], ids=["amap", "astream"])
def test_little_is_taken_ahead_in_asyncio(rung: str, ordered: bool) -> None:
    """The same."""
    source = Endless()

    async def take() -> None:
        async with Engine(isolation=rung, workers=2) as engine:
            count = 0
            async for _ in engine.amap(source) if ordered else engine.astream(source):
                count += 1
                assert source.given <= count + AHEAD * engine.workers
                if count == TAKEN:
                    break

    asyncio.run(take())
    assert source.given >= TAKEN


def test_a_source_that_fails_costs_only_itself(rung: str) -> None:
    """Its error reaches the caller; the engine goes on."""

    def programs() -> Iterator[str]:
        yield "print(1)"
        raise LookupError("no more")

    with Engine(isolation=rung, workers=2) as engine:
        with pytest.raises(LookupError, match="no more"):
            list(engine.stream(programs()))
        assert engine.run("print(2)").text == "2\n"
