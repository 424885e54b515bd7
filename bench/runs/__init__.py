"""Run a config from start to results directory; read ``run`` first."""
