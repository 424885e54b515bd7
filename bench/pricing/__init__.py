"""Look up prices and compute costs."""
