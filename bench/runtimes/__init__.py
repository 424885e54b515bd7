"""Run models: one file per engine, with ``load(model_directory, options) -> Engine`` (``bench.engine``)."""
