"""Let a small model answer first; a rule decides which requests go on to the large one, over a link.

A module of this verb has ``RULE`` in the place of ``apply`` and ``evidence``: a worker loads the small model
beside the large one, and checks itself that the rule decides.
"""

PLACE = 8
WEIGHTS = "any"
SPELLINGS = ()
ROUTES = True
