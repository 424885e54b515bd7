"""Engines that run a model; each file has ``load(model_directory, options) -> Engine`` (``bench.engine``)."""
