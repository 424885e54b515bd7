"""Servers under load: a client of OpenAI-compatible servers that is itself measured, and what a good request
costs. docs/serving.md says what is here and what is not there yet."""
