"""Look up the prices of hours and of hosted APIs, convert currencies, and compute costs in US dollars."""
