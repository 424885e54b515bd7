"""What engines in process do alike with the tokenizer of transformers that both have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.serving.inside.engine import Refused, Wanted


class Words:
    """A tokenizer, with what an engine is asked of texts."""

    _tokenizer: Any

    def tokens(self, text: str, *, special: bool) -> Sequence[int]:
        """Return the token ids of a text."""
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=special)
        return found

    def turn(self, text: str) -> Sequence[int]:
        """Return the token ids of what a user says, in the chat template. Raises Refused without one."""
        if not getattr(self._tokenizer, "chat_template", None):
            raise Refused("the model has no chat template")
        said = [{"role": "user", "content": text}]
        whole = self._tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        return self.tokens(whole, special=False)

    def text(self, ids: Sequence[int]) -> str:
        """Return token ids as text."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def must_fit(wanted: Wanted, room: int) -> None:
    """Raise Refused for a prompt without tokens, and for a request that does not fit ``room`` tokens."""
    if not wanted.ids:
        raise Refused("the prompt has no token")
    length = len(wanted.ids) + wanted.most
    if length > room:
        raise Refused(f"prompt and reply have {length} tokens, and there is room for {room}")
