"""Find out why CuPy does not import or work, and what to do: ``cupy-compat doctor``.

`trial` starts new interpreters for two modules: `facts` reads facts without importing CuPy, and
`attempt` imports CuPy and tries it. `checks` is the table of known failures, `diagnosis` compares
it with facts and attempts, and `report` formats the result.
"""
