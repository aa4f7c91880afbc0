"""OCI containers: bundle, spec, state, hooks and life cycle (`create`, `start`, `kill`, `delete`).

Still to come. It will stand on ``host.sandbox``, as ``cli`` and ``sdk`` do, and turn a bundle's
``config.json`` into a ``host.config.Config``.
"""
