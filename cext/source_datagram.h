/* source_datagram.h: a message per datagram, received by the kernel straight into the slots. Position word 0: datagrams
 * taken. Sockets deliver at most once. */
#ifndef BYTEOR_SOURCE_DATAGRAM_H
#define BYTEOR_SOURCE_DATAGRAM_H

#include "adapter.h"

/* `fd` is non-blocking and stays the caller's; `count` datagrams end the input, 0: never. NULL when out of memory. */
byteor_source *byteor_datagram_source_new(int fd, uint64_t count);

#endif
