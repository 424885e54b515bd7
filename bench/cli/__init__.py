"""Define the commands, and print everything that the user sees.

* ``*_command`` and ``*_commands`` declare commands with their options and help texts: ``main_commands`` those
  that measure or read a run, ``list_commands`` lists, prices, models and environments.
* ``*_options`` defines the options of a command that has many, and checks which can be combined.
* ``*_actions`` does what the commands of a file ask for, and ``*_run`` runs a command that measures.
* ``*_pages`` writes what a command prints.
"""
