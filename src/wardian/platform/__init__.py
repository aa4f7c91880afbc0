"""The engine that runs guest code: ``interface`` says what the Sentry needs of one."""
