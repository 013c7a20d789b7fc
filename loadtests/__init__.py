"""Load tests of a running server. `docs/loadtests.md` explains them.

    locust -f loadtests/locustfile.py   chat users, with thresholds that fail the run
    python -m loadtests.compare URL     plain against connected requests
    python -m loadtests.ramp URL        the highest rate that a server keeps up with, and what overload does to it
    python -m loadtests.sizing DIR      how many requests a fleet serves
    python -m loadtests.soak            hours of traffic in minutes: memory, stuck requests, counters
    python -m loadtests.rolling_restart DIR     two replicas restarted under load
    python -m loadtests.router DIR      two replicas behind a router

DIR is a checkpoint.
"""
