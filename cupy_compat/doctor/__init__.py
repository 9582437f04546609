"""Say why CuPy does not import, or does not work, and what to do: ``cupy-compat doctor``.

`facts` reads what can be read without importing CuPy, `attempt` imports it and tries it, both in
interpreters of their own, which `trial` starts. `checks` is the table of what can be wrong,
`diagnosis` holds it against facts and attempts, and `report` writes what came of it.
"""
