"""Decode several tokens in one pass: something cheap drafts them, and the model itself verifies them.

The text is the model's own: a draft is kept only as far as it is what the model would have chosen.
"""

PLACE = 5
WEIGHTS = "any"
SPELLINGS = ("speculative",)
