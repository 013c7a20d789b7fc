"""The HTTP server around vLLM. This is the way of one generation request, with the module that does each step.

1. uvicorn reads its headers, within bounds.                                             `http_protocol`
2. It gets an id and a record, from which metrics and the log line are made at the end.  `middleware.observe`
3. vLLM's own middleware runs, such as CORS.                                             vLLM
4. Its key shows who the caller is, and so the rates, limits and router.                 `middleware.authentication`,
   The router's connection is held until the request is over.                            `middleware.holding`
5. It is counted as running, or sent away if the server is stopping.                     `middleware.drain`
6. Rates and limits admit it; its body is read; its `Work` begins.                       `middleware.limits`, `work`
7. The body is parsed, and gives the user's texts, the language, the connection.         `request_body`,
   The connection goes into the body as an engine argument (``vllm_xargs``).             `generation_request`,
                                                                                         `middleware.connection`
8. Status and headers of the response wait for its first chunk.                          `middleware.begin`
9. vLLM's endpoint renders the prompt and calls the engine.                              `served_engine`
10. Each output is counted and charged on its way back to the client.                    `telemetry.token_times`
11. An error that ends it early is told, counted and logged alike on every endpoint,     `faults`,
    on ``/v1/messages`` in Anthropic's shape.                                            `middleware.anthropic`
12. When it is over, a thread detects the language of its answer, if that was sampled.   `telemetry.answer_language`

Before all that, `start` finds wrong flags while there is no engine yet. `server` starts one API process (`front_end`),
or several in front of one engine (`processes`).
Steps 4 to 8 are the middleware that `composition` adds, in this order. Only `vllm` imports vLLM.
"""
