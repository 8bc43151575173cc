# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, auto_pickle=False, autotestdict=False
"""The ports and roles of a unit of a LaneGraph, laid out for the worker's loop.

Owns that private structure. It has no loop over messages: `unit_graph.h` has, called by the worker's host.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from graph cimport (
    BYTEOR_CELLS_MAX,
    BYTEOR_MEMBERS_MAX,
    BYTEOR_NO_PORT,
    BYTEOR_NO_SEQUENCE,
    BYTEOR_PORTS_MAX,
    byteor_choice,
    byteor_graph,
    byteor_graph_free,
    byteor_graph_member,
    byteor_graph_new,
    byteor_journal_reader,
    byteor_journal_writer,
    byteor_lost,
    byteor_ring,
    byteor_rx_port,
    byteor_script,
    byteor_tx_port,
)

PORTS_MAX = BYTEOR_PORTS_MAX
PICKS = {"fair": 0, "round_robin": 0, "priority": 1, "ordered": 2}
ROUTES = {"broadcast": 0, "work_queue": 1, "key_hash": 2}


@cython.final
cdef class Graph:
    """One unit's ports and roles. Keep it as long as its worker's host runs the unit."""

    cdef byteor_graph *graph
    cdef list keep

    def __cinit__(self, *, area, uint32_t words, uint32_t entries, uint32_t staging_bytes, uint32_t copy_bytes,
                  uint32_t extra_max, bint wants_progress, rx, tx, members):
        """Lay it out.

        `area`: address of the unit's two arrays of `words` in the control region. `rx`, `tx`, `members`: dicts, the
        fields of the structures of `graph.h`; `ring` and `journal` are addresses, 0 for none;
        `source` and `dead_letter` -1 for none.
        """
        if len(rx) > BYTEOR_PORTS_MAX or len(tx) > BYTEOR_PORTS_MAX or not 0 < len(members) <= BYTEOR_MEMBERS_MAX:
            raise ValueError(f"a unit has 1 to 8 roles and at most {BYTEOR_PORTS_MAX} ports of each direction")
        self.keep = []
        self.graph = byteor_graph_new(words, entries, staging_bytes, copy_bytes, extra_max)
        if self.graph == NULL:
            raise MemoryError
        self.graph.shared[0] = <uint64_t *> <uintptr_t> area
        self.graph.shared[1] = self.graph.shared[0] + words
        self.graph.wants_progress = wants_progress
        self.graph.rx_count = len(rx)
        self.graph.tx_count = len(tx)
        for index, port in enumerate(rx):
            self._add_rx(&self.graph.rx[<size_t> index], port)
        for index, port in enumerate(tx):
            self._add_tx(&self.graph.tx[<size_t> index], port)
        for index, member in enumerate(members):
            self._add_member(&self.graph.member[<size_t> index], member)

    def __dealloc__(self):
        byteor_graph_free(self.graph)

    cdef int _add_rx(self, byteor_rx_port *port, source) except -1:
        port.ring = <byteor_ring *> <uintptr_t> source["ring"]
        port.journal = <byteor_journal_reader *> <uintptr_t> source["journal"]
        port.cell = source["cell"]
        port.word = source["word"]
        port.source = _port(source["source"])
        port.monotone = source["monotone"]
        if port.cell >= <int> port.ring.cell_count or len(source["depends"]) > BYTEOR_CELLS_MAX:
            raise ValueError(f"cell {port.cell} of a ring that has {port.ring.cell_count}")
        port.depends_count = len(source["depends"])
        for index, cell in enumerate(source["depends"]):
            port.depends[<size_t> index] = cell
        port.gone = <uint64_t *> <uintptr_t> source["gone"]
        if source["lost"]:
            self.keep.append(source["lost"])
            port.lost.list = <const byteor_lost *> <const char *> <bytes> source["lost"]
            port.lost.count = len(source["lost"]) // 16
        return 0

    cdef int _add_tx(self, byteor_tx_port *port, source) except -1:
        port.ring = <byteor_ring *> <uintptr_t> source["ring"]
        port.journal = <byteor_journal_writer *> <uintptr_t> source["journal"]
        self.graph.journals += 1 if source["journal"] else 0
        port.word = source["word"]
        port.drops = source["drops"]
        port.cells = port.ring.cell_count
        port.claim_max = source["claim_max"]
        port.end = BYTEOR_NO_SEQUENCE
        self._add_script(&port.script, source["script"])
        return 0

    cdef int _add_script(self, byteor_script *script, bytes choices) except -1:
        """Have `choices`, whole records of `byteor_choice`, made again; none: nothing is directed."""
        if not choices:
            return 0
        self.keep.append(choices)
        script.list = <const byteor_choice *> <const char *> choices
        script.count = len(choices) // 16
        return 0

    cdef int _add_member(self, byteor_graph_member *member, source) except -1:
        member.rx_first, member.rx_count = source["rx"]
        member.tx_first, member.tx_count = source["tx"]
        member.dead_letter = _port(source["dead_letter"])
        member.pick = PICKS[source["pick"]]
        member.route = ROUTES[source["route"]]
        member.place_word = source["place_word"]
        member.payload_max = source["payload_max"]
        member.outputs_max = source["outputs_max"]
        member.large_state = source["large_state"]
        member.staged = source["staged"]
        self._add_script(&member.take, source["take"])
        self._add_script(&member.steer, source["steer"])
        member.key_offset, member.key_length = source["key"]
        return 0

    @property
    def address(self):
        """Address of the structure, for the host."""
        return <uintptr_t> self.graph


cdef uint32_t _port(index):
    return BYTEOR_NO_PORT if index < 0 else <uint32_t> index
