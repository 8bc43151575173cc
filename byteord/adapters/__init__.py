"""Where bytes enter and leave: files, sockets, captures, the run's client, a generator.

`catalogue` says what there is, `options` what each takes, `open` makes handles that the worker's
loop drives. Imported by shim and workers, so kept light: nothing here may import numpy, msgspec,
asyncio or grpc.
"""
