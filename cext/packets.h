/* packets.h: what daemon and worker say to each other about the bytes of the run's client. Little endian, SOCK_SEQPACKET. */
#ifndef BYTEOR_PACKETS_H
#define BYTEOR_PACKETS_H

#include <stdint.h>

enum byteor_packet_type {
    BYTEOR_PACKET_RESUME = 1, /* worker: begin at `offset`, and put `epoch` on every packet */
    BYTEOR_PACKET_DATA = 2,   /* bytes from `offset` on */
    BYTEOR_PACKET_END = 3,    /* `offset` bytes in all, their CRC32C in `value` */
    BYTEOR_PACKET_FAILED = 4, /* it ended before its end; data says why */
    BYTEOR_PACKET_ACK = 5     /* worker: everything below `offset` is committed */
};

#define BYTEOR_PACKET_DATA_BYTES_MAX 65512u

typedef struct byteor_packet_header {
    uint32_t type;
    uint32_t epoch;
    uint64_t offset;
    uint64_t value;
} byteor_packet_header;

_Static_assert(sizeof(byteor_packet_header) == 24, "part of the protocol");
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the packet header is written as it lies in memory: little endian only"
#endif

#endif
