"""Measure many comparison groups on many machines. Each group is a run of its own, on one machine.

``pieces`` cuts configs into groups, ``dispatch`` gives them to machines, ``node`` measures one of them there,
``receiver`` keeps what arrives, and ``campaign`` is the journal of all this. ``here`` and ``on_ray`` are the
machines.
"""
