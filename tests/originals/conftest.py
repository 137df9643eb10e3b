"""Fixtures that start conversations with the originals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from originals.environments import Conversation, environment_of


@pytest.fixture(scope="session")
def python_of() -> Callable[[str], Path]:
    """Give the path of an original's Python."""
    return environment_of


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Conversation]]:
    """Start a conversation with an original, by the name that scripts/originals gives it."""
    begun: list[Conversation] = []

    def begin(name: str) -> Conversation:
        python = environment_of(name)
        begun.append(Conversation(python, tmp_path_factory.mktemp("original")))
        return begun[-1]

    yield begin
    for conversation in begun:
        conversation.close()
