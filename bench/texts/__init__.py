"""Evaluation texts, read from where a package puts them: one file for each text, with ``read() -> str``.

Nothing is copied into this repository. The result keeps the text's SHA-256; figures on different texts are
not compared.
"""
