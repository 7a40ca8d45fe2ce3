"""A language model in this process: `provider = "local"`, without a server and without a key.

`provider` takes a question from the event loop; `worker` gathers questions in a thread and forms batches; `prompt`
writes them out as the model's chat template has it; `generation` computes their answers, each held to its schema by
`grammar`; `loading` finds the model, and says what it needs before it is loaded.
"""
