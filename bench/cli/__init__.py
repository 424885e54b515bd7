"""The commands, and everything that prints for the user.

* ``app``, ``upkeep``, and for a single command ``explaining``, ``loading``, ``planning`` and ``pricing``
  declare commands: their options and their help.
* ``*_options`` has the options of a command that has many, and which of them go together.
* ``*_commands`` is what the commands of a file do; ``*_run`` is a command that measures.
* ``*_pages`` is what a command prints.
"""
