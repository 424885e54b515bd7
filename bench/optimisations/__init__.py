"""One file a scheme, found by its name: ``{quantise: bnb-nf4}`` is ``quantise/bnb_nf4.py``.

A scheme is a module with

* a docstring whose first line says what it does,
* ``REQUIRES``: the packages it needs,
* ``WEIGHTS`` (optional): "dense" where it needs dense weights and leaves them dense, "packs" where it leaves
  them packed, "any" where it takes them as they are; if absent what ``WEIGHTS`` below says of its kind,
* ``Params``: a frozen dataclass, its settings in YAML (validated before anything is loaded),
* ``unsupported(device, dtype)``: the reason it cannot run there, or None,
* ``apply(model, params)``: returns the changed model; heavy imports inside,
* ``evidence(before, after, params)``: what must now be true of the loaded model. The harness takes both
  censuses itself and fails the variant (``not_applied``) where a check does not hold,
* ``KERNEL`` (optional): a pattern that one operator of a profiled decode step must match,
* ``RUNTIMES`` (optional): the engines it is for, transformers if absent,
* ``DECODING`` (optional): True where it hangs a KV cache of its own on the model; the censuses then have a
  short request decoded,
* ``refuse(params, architecture)`` (optional): why the settings do not fit a model whose shape is known before
  it is loaded, with the nearest that do,
* ``NOTE`` (optional): what a reader of the row should know where it is not cheaper.

A model that is passed to ``apply`` has ``load_teacher()``, which loads the baseline beside it, and
``teacher_directory``. Work that is done once and serves every run (calibration, training) goes through
``one_off``.
"""

VERBS = ("prune", "distil", "quantise", "compile")
WEIGHTS = {"prune": "dense", "distil": "dense", "quantise": "packs", "compile": "any"}
SPELLINGS = {"quantize": "quantise", "quantization": "quantise", "distill": "distil", "optimize": "optimise"}
