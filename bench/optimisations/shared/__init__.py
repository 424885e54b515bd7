"""Code that several schemes share."""
