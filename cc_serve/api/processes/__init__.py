"""Several API processes in front of one engine: ``--api-server-count N``, as vLLM has it.

A parent process starts the engine and the API processes, waits, and answers no requests. What belongs to a server and
not to a process is kept together like this (`peers`, `share` and `held` stand in `cc_serve.api`):

======================================  ===============================================================================
a key's rates, concurrency and budgets  in ``limits.store``; without one, such limits are refused: `rules`
``limits.concurrent_requests``          counts in memory that all processes share: `cc_serve.api.tenants.pool`
usage                                   the store, or one SQLite file; a report has each process write its part: `peers`
turns between keys                      the engine's queue; all processes give a key the same number: `share`
metrics                                 prometheus_client's files, one for each process, added up by whoever is asked
reload, by signal or call               the first process has all others follow, whichever is asked: `peers`
another connection without a restart    the same; each tells which connections it still needs: `held`
what vLLM keeps in a process            refused: `rules`
pause, sleep, adapters at the start     the engine's own
stop                                    the parent passes it on, waits for all, and then stops the engine: `parent`
a process that dies                     the others finish what they have begun, and the server ends: `parent`
======================================  ===============================================================================

Another connection, asked for at any process, goes through the first one (`exchange` and `held`)::

    any process    POST /admin/connections      ->  first process
    first process  check the model's weights, the connection, the configuration
                   load_connection              ->  workers, beside their steps
                   serve_connection             ->  workers, between two steps; they hold both connections now
                   check connection             ->  other processes; a refusal has the workers go back
                   serve connection             ->  other processes; new requests begin with it everywhere
    any process    its last request of the earlier connection is over: idle connection -> first process
    first process  held connections             ->  other processes: does any serve it, or run a request of it?
                   forget connection            ->  other processes
                   drop_connection              ->  workers
"""
