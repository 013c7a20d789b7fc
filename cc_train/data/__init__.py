"""Parallel rows: read, checked, encoded and batched.

A row has ``lang`` (ISO 639-1), ``instruction`` in that language, ``instruction_en`` and ``output``. Instead of the
instructions it may have ``messages`` and ``messages_en``: conversations that end with a user's turn, or with the
answer. ``id`` and ``task`` are optional; other fields are ignored. English rows need no ``instruction_en``: they are
trained plain, because they are served plain. For plain fine-tuning no row needs it.

A sentence in many languages, one field each (``en`` among them), becomes a pair of user turns for each language. It
has no answer: the Transform Matrices can be fitted on it, but nothing can be trained.
"""
