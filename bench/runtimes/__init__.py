"""One file per engine: ``load(model_directory, options) -> Engine`` (``bench.engine``)."""
