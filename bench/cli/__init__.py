"""Define the commands, and print everything that the user sees.

* ``app``, ``upkeep``, ``explaining``, ``loading``, ``planning`` and ``pricing`` declare the commands with
  their options and help texts.
* ``*_options`` defines the options of a command that has many, and checks which can be combined.
* ``*_commands`` does what the commands of a file ask for, and ``*_run`` runs a command that measures.
* ``*_pages`` writes what a command prints.
"""
