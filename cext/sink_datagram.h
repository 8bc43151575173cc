/* sink_datagram.h: a datagram per message, sent from the slots. Position word 0: datagrams handed to the kernel. */
#ifndef BYTEOR_SINK_DATAGRAM_H
#define BYTEOR_SINK_DATAGRAM_H

#include "adapter.h"

/* `fd` is connected and stays the caller's. With `unheard_is_lost` a datagram that nobody listens for (UDP) is counted and
 * the run goes on; without, the sink fails. NULL when out of memory. */
byteor_sink *byteor_datagram_sink_new(int fd, int unheard_is_lost);

#endif
