/* source_bytes.h: the one engine of every source that is a stream of bytes.
 *
 * A refill function puts bytes into the staging buffer, the framing takes messages out of it. Position words: 0 offset of
 * the first byte not taken, 1 belongs to the refill (inode, or CRC32C of the bytes before), 2 and 3 the framing's.
 */
#ifndef BYTEOR_SOURCE_BYTES_H
#define BYTEOR_SOURCE_BYTES_H

#include "framing_pcap.h"

#define BYTEOR_STAGING_BYTES (512u * 1024u) /* more than any frame and a refill together */
#define BYTEOR_REFILL_BYTES (128u * 1024u)  /* room that a refill always finds */
#define BYTEOR_REFILLS_PER_POLL 4

/* What a refill returns besides a count of bytes. */
enum {
    BYTEOR_REFILL_END = 0,       /* no more, ever */
    BYTEOR_REFILL_WAIT = -1,     /* nothing now; common.wait_fd may say what to wait for */
    BYTEOR_REFILL_FAILED = -2,   /* common says why */
    BYTEOR_REFILL_BOUNDARY = -3, /* this file or peer is over, another may follow: what is left over is a last frame */
    BYTEOR_REFILL_CUT = -4,      /* the same, but what is left over was cut off */
    BYTEOR_REFILL_AGAIN = -5     /* nothing, but ask again at once */
};

typedef struct byteor_bytes_source byteor_bytes_source;

struct byteor_bytes_source {
    byteor_source base;
    byteor_framing framing;
    uint8_t *staging;
    size_t start; /* of the bytes not taken yet */
    size_t end;
    uint64_t now_ns;        /* run's clock at this poll */
    uint64_t committed;     /* position when this poll began: what came before is in a commit record */
    ptrdiff_t (*refill)(byteor_bytes_source *self, uint8_t *into, size_t room);
    void (*crossed)(byteor_bytes_source *self); /* after a boundary, when everything before it is taken; may be NULL */
    uint8_t keeps_crc;     /* position word 1 is the CRC32C of the bytes before the offset */
    uint8_t forgives_loss; /* lost framing ends the peer (boundary) instead of the input */
    uint8_t ending;
    uint8_t boundary;
    int fd;        /* what is read, -1: nothing yet */
    int listen_fd; /* peers come from here, -1: from nowhere */
    int pending_fd; /* follow: the file that has taken the path's place, -1: none, -2: the file was truncated */
    int directory_fd; /* follow: where `base_name` is looked up */
    uint64_t peers_left; /* 0: any number */
    uint64_t looked_ns;  /* follow: when the path was last compared with the file */
    uint32_t seen_changed; /* follow: how often in a row the path was another file */
    uint32_t epoch;        /* packets: of this worker */
    uint64_t acked;        /* packets: position last acknowledged */
    uint8_t resumed;       /* packets: RESUME was sent */
    void *context;         /* of a refill written in Cython */
    char base_name[256];
    char text[256]; /* instance-owned error text */
};

byteor_bytes_source *byteor_bytes_source_new(const byteor_framing_options *options);
void byteor_bytes_source_free(byteor_bytes_source *self); /* closes what it opened itself, not `fd` of packets */
void byteor_bytes_source_restore(byteor_bytes_source *self, const uint64_t position[BYTEOR_POSITION_WORDS]);

/* Refills. Descriptors are non-blocking, or regular files. */
ptrdiff_t byteor_refill_read(byteor_bytes_source *self, uint8_t *into, size_t room);
ptrdiff_t byteor_refill_follow(byteor_bytes_source *self, uint8_t *into, size_t room);
ptrdiff_t byteor_refill_socket(byteor_bytes_source *self, uint8_t *into, size_t room);
ptrdiff_t byteor_refill_packets(byteor_bytes_source *self, uint8_t *into, size_t room);
void byteor_crossed_follow(byteor_bytes_source *self);
void byteor_crossed_socket(byteor_bytes_source *self);

#endif
