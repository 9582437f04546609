"""Arm the shim when Python starts: ``cupy-compat run``, ``enable`` and ``disable``.

`run` starts one program; the folder `site` arms it and its child processes. `enable` and `disable`
write and remove the start-up files (`files`), which arm every start of an environment's Python.
"""
