/* framing_pcap.h: records of a pcap file, and the UDP payload inside a captured frame.
 *
 * Format: https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/ (both magics, both byte orders). Every length in the
 * file is a claim by a stranger: it is bounded by what is really there before it is used. Fragments are not put together.
 */
#ifndef BYTEOR_FRAMING_PCAP_H
#define BYTEOR_FRAMING_PCAP_H

#include "framing.h"

#define BYTEOR_PCAP_HEADER_BYTES 24u
#define BYTEOR_PCAP_RECORD_BYTES 16u
#define BYTEOR_PCAP_FRAME_BYTES_MAX 262144u /* most that libpcap writes for one packet */

enum {
    BYTEOR_LINK_NULL = 0, BYTEOR_LINK_ETHERNET = 1, BYTEOR_LINK_RAW_BSD = 12, BYTEOR_LINK_RAW = 101, BYTEOR_LINK_LOOP = 108,
    BYTEOR_LINK_SLL = 113, BYTEOR_LINK_IPV4 = 228, BYTEOR_LINK_IPV6 = 229, BYTEOR_LINK_SLL2 = 276
};

/* What a captured frame holds: bytes of a UDP payload, or why there are none (reason >= 0). */
typedef struct byteor_udp_view {
    const uint8_t *payload;
    size_t bytes;
    int reason; /* enum byteor_reject, or -1: the payload is there */
} byteor_udp_view;

static inline uint32_t byteor_pcap_u32(const byteor_framing *framing, const uint8_t *at) {
    return (uint32_t)byteor_load_length(at, 4, framing->swapped);
}

static inline byteor_udp_view byteor_udp_none(int reason) {
    byteor_udp_view view = {NULL, 0, reason};
    return view;
}

static inline byteor_udp_view byteor_udp_payload(const uint8_t *udp, size_t bytes, uint16_t port) {
    if (bytes < 8) {
        return byteor_udp_none(BYTEOR_REJECT_TRUNCATED);
    }
    if (port != 0 && byteor_load_be16(udp + 2) != port) {
        return byteor_udp_none(BYTEOR_REJECT_FILTERED);
    }
    size_t length = byteor_load_be16(udp + 4);
    if (length < 8) {
        return byteor_udp_none(BYTEOR_REJECT_MALFORMED);
    }
    if (length > bytes) {
        return byteor_udp_none(BYTEOR_REJECT_TRUNCATED);
    }
    byteor_udp_view view = {udp + 8, length - 8, -1};
    return view;
}

static inline byteor_udp_view byteor_udp_in_ipv4(const uint8_t *ip, size_t bytes, uint16_t port) {
    if (bytes < 20) {
        return byteor_udp_none(BYTEOR_REJECT_TRUNCATED);
    }
    size_t header = (size_t)(ip[0] & 0x0fu) * 4u;
    size_t total = byteor_load_be16(ip + 2);
    if (header < 20 || total < header) {
        return byteor_udp_none(BYTEOR_REJECT_MALFORMED);
    }
    uint16_t fragment = byteor_load_be16(ip + 6);
    if (ip[9] != 17 || (fragment & 0x1fffu) != 0) {
        return byteor_udp_none(BYTEOR_REJECT_FILTERED);
    }
    size_t there = total < bytes ? total : bytes; /* an Ethernet frame may be padded behind the packet */
    if (header > there) {
        return byteor_udp_none(BYTEOR_REJECT_TRUNCATED);
    }
    return byteor_udp_payload(ip + header, there - header, port);
}

static inline byteor_udp_view byteor_udp_in_ipv6(const uint8_t *ip, size_t bytes, uint16_t port) {
    if (bytes < 40) {
        return byteor_udp_none(BYTEOR_REJECT_TRUNCATED);
    }
    size_t there = (size_t)40 + byteor_load_be16(ip + 4);
    there = there < bytes ? there : bytes;
    uint8_t next = ip[6];
    size_t at = 40;
    for (int extensions = 0; next != 17 && extensions < 8; extensions++) {
        if (next != 0 && next != 43 && next != 44 && next != 51 && next != 60) {
            return byteor_udp_none(BYTEOR_REJECT_FILTERED);
        }
        if (there - at < 8) {
            return byteor_udp_none(BYTEOR_REJECT_TRUNCATED);
        }
        if (next == 44 && (byteor_load_be16(ip + at + 2) & 0xfff8u) != 0) {
            return byteor_udp_none(BYTEOR_REJECT_FILTERED);
        }
        size_t length = next == 44 ? 8 : next == 51 ? ((size_t)ip[at + 1] + 2) * 4 : ((size_t)ip[at + 1] + 1) * 8;
        if (length > there - at) {
            return byteor_udp_none(BYTEOR_REJECT_TRUNCATED);
        }
        next = ip[at];
        at += length;
    }
    return next == 17 ? byteor_udp_payload(ip + at, there - at, port) : byteor_udp_none(BYTEOR_REJECT_FILTERED);
}

static inline byteor_udp_view byteor_udp_in_ip(const uint8_t *ip, size_t bytes, uint16_t port) {
    if (bytes == 0) {
        return byteor_udp_none(BYTEOR_REJECT_TRUNCATED);
    }
    switch (ip[0] >> 4) {
    case 4:
        return byteor_udp_in_ipv4(ip, bytes, port);
    case 6:
        return byteor_udp_in_ipv6(ip, bytes, port);
    default:
        return byteor_udp_none(BYTEOR_REJECT_MALFORMED);
    }
}

/* From an EtherType at `at` (VLAN tags may come before it) to what it announces. */
static inline byteor_udp_view byteor_udp_behind_type(const uint8_t *frame, size_t bytes, size_t at, uint16_t port) {
    for (int tags = 0; tags < 4; tags++) {
        if (bytes < at + 2) {
            return byteor_udp_none(BYTEOR_REJECT_TRUNCATED);
        }
        uint16_t type = byteor_load_be16(frame + at);
        if (type == 0x0800 || type == 0x86dd) {
            return byteor_udp_in_ip(frame + at + 2, bytes - at - 2, port);
        }
        if (type != 0x8100 && type != 0x88a8 && type != 0x9100) {
            break;
        }
        at += 4;
    }
    return byteor_udp_none(BYTEOR_REJECT_FILTERED);
}

static inline byteor_udp_view byteor_udp_in_frame(uint32_t link_type, const uint8_t *frame, size_t bytes, uint16_t port) {
    switch (link_type) {
    case BYTEOR_LINK_ETHERNET:
        return byteor_udp_behind_type(frame, bytes, 12, port);
    case BYTEOR_LINK_SLL:
        return byteor_udp_behind_type(frame, bytes, 14, port);
    case BYTEOR_LINK_SLL2:
        if (bytes < 20) {
            return byteor_udp_none(BYTEOR_REJECT_TRUNCATED);
        }
        switch (byteor_load_be16(frame)) {
        case 0x0800:
        case 0x86dd:
            return byteor_udp_in_ip(frame + 20, bytes - 20, port);
        default:
            return byteor_udp_none(BYTEOR_REJECT_FILTERED);
        }
    case BYTEOR_LINK_NULL:
    case BYTEOR_LINK_LOOP:
        return bytes < 4 ? byteor_udp_none(BYTEOR_REJECT_TRUNCATED) : byteor_udp_in_ip(frame + 4, bytes - 4, port);
    default:
        return byteor_udp_in_ip(frame, bytes, port);
    }
}

static inline int byteor_pcap_knows(uint32_t link_type) {
    switch (link_type) {
    case BYTEOR_LINK_NULL:
    case BYTEOR_LINK_ETHERNET:
    case BYTEOR_LINK_RAW_BSD:
    case BYTEOR_LINK_RAW:
    case BYTEOR_LINK_LOOP:
    case BYTEOR_LINK_SLL:
    case BYTEOR_LINK_IPV4:
    case BYTEOR_LINK_IPV6:
    case BYTEOR_LINK_SLL2:
        return 1;
    default:
        return 0;
    }
}

/* Read the file header; `lost` says what is wrong with it. */
static inline void byteor_pcap_header(byteor_framing *framing, byteor_adapter_common *common, const uint8_t *data,
                                      size_t bytes) {
    uint32_t magic = (uint32_t)byteor_load_length(data, 4, 0);
    framing->swapped = magic == 0xd4c3b2a1u || magic == 0x4d3cb2a1u;
    if (!framing->swapped && magic != 0xa1b2c3d4u && magic != 0xa1b23c4du) {
        byteor_reject(common, BYTEOR_REJECT_MALFORMED, data, bytes);
        framing->lost = magic == 0x0a0d0d0au
                            ? "this is a pcapng file; wanted pcap: convert it (editcap -F pcap IN OUT)"
                            : "this is no pcap file: it begins with neither magic 0xa1b2c3d4 nor 0xa1b23c4d";
        return;
    }
    framing->link_type = (uint16_t)byteor_pcap_u32(framing, data + 20);
    if (!framing->options.whole_frames && !byteor_pcap_knows(framing->link_type)) {
        byteor_reject(common, BYTEOR_REJECT_MALFORMED, data, bytes);
        framing->lost = "the pcap file's link type is none that UDP payloads can be found in (Ethernet, raw IP, Linux "
                        "cooked, loopback); take whole frames instead";
        return;
    }
    framing->has_header = 1;
}

static inline void byteor_take_packet(byteor_framing *framing, byteor_adapter_common *common, byteor_batch *batch,
                                      uint32_t *filled, const uint8_t *frame, size_t bytes) {
    byteor_udp_view view = {frame, bytes, -1};
    if (!framing->options.whole_frames) {
        view = byteor_udp_in_frame(framing->link_type, frame, bytes, framing->options.port);
    }
    if (view.reason >= 0) {
        byteor_reject(common, view.reason, frame, bytes);
    } else if (view.bytes > batch->payload_max) {
        byteor_reject(common, BYTEOR_REJECT_OVERSIZE, view.payload, view.bytes);
    } else {
        byteor_fill_slot(batch, filled, view.payload, view.bytes);
    }
}

static inline size_t byteor_take_pcap(byteor_framing *framing, byteor_adapter_common *common, byteor_batch *batch,
                                      uint32_t *filled, const uint8_t *data, size_t bytes, int last) {
    size_t at = 0;
    while (*filled < batch->count && at < bytes && framing->lost == NULL) {
        const uint8_t *from = data + at;
        size_t room = bytes - at;
        size_t header = framing->has_header ? BYTEOR_PCAP_RECORD_BYTES : BYTEOR_PCAP_HEADER_BYTES;
        size_t length = 0;
        if (room >= header && framing->has_header) {
            length = byteor_pcap_u32(framing, from + 8);
            if (length > BYTEOR_PCAP_FRAME_BYTES_MAX) {
                byteor_reject(common, BYTEOR_REJECT_MALFORMED, from, room);
                framing->lost = "a pcap record claims more than 262144 bytes";
                break;
            }
        }
        if (room < header || room - header < length) {
            if (!last) {
                break;
            }
            byteor_reject(common, BYTEOR_REJECT_TRUNCATED, from, room);
            at = bytes;
        } else if (!framing->has_header) {
            byteor_pcap_header(framing, common, from, room);
            at += framing->lost == NULL ? header : 0;
        } else {
            byteor_take_packet(framing, common, batch, filled, from + header, length);
            at += header + length;
        }
    }
    return at;
}

static inline size_t byteor_take(byteor_framing *framing, byteor_adapter_common *common, byteor_batch *batch,
                                 uint32_t *filled, const uint8_t *data, size_t bytes, int last) {
    switch (framing->options.kind) {
    case BYTEOR_FRAMING_LINES:
        return byteor_take_lines(framing, common, batch, filled, data, bytes, last);
    case BYTEOR_FRAMING_FIXED:
        return byteor_take_fixed(framing, common, batch, filled, data, bytes, last);
    case BYTEOR_FRAMING_LENGTH_PREFIXED:
        return byteor_take_length_prefixed(framing, common, batch, filled, data, bytes, last);
    default:
        return byteor_take_pcap(framing, common, batch, filled, data, bytes, last);
    }
}

#endif
