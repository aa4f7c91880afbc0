"""Where the Sentry's time goes (``--profile``): ``profiler`` measures, ``histogram`` keeps the
times, ``report`` says what was found."""
