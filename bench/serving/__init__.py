"""Put servers under load, with a client that is itself measured. docs/serving.md says what is here."""
