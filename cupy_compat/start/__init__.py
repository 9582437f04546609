"""Start Python with the shim armed: ``cupy-compat run``, ``enable`` and ``disable``.

`run` starts one program, and `site` is the folder that arms it and its children. `enable` and
`disable` write and remove the `files` that arm every start of an environment's Python.
"""
