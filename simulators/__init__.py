"""The outside world in small: Tornado servers that speak each vendor's wire format, for tests and the demo.

A simulator is a package `simulators/<name>/` whose `__init__` has `make_app(state_dir, keys_dir)`, which answers a
`tornado.web.Application`. What it must remember it keeps under `state_dir`; what the hospital must share with it (keys,
account numbers) it creates under `keys_dir` before it answers. When the setting `stop` of that application holds an
async function, it is awaited at the end. Simulators import nothing of the hospital's, and nobody imports them.
"""
