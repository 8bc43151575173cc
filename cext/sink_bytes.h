/* sink_bytes.h: the one engine of every sink that is a stream of bytes: file, stream socket, the run's client.
 *
 * Messages are framed into an output buffer and handed to the kernel before they count as done; of a message that went
 * only in part the engine remembers how far. Position words: 0 bytes of the messages that are done (file: offset in it),
 * 1 CRC32C of them (packets), 2 one when anything was recorded.
 */
#ifndef BYTEOR_SINK_BYTES_H
#define BYTEOR_SINK_BYTES_H

#include "framing.h"

#define BYTEOR_OUTPUT_BYTES (256u * 1024u)

enum byteor_sync { BYTEOR_SYNC_NONE = 0, BYTEOR_SYNC_END = 1, BYTEOR_SYNC_EVERY_BATCH = 2 };

/* What emit returns besides a count of bytes taken. */
enum { BYTEOR_EMIT_WAIT = 0, BYTEOR_EMIT_FAILED = -1, BYTEOR_EMIT_NEW_PEER = -2 };

typedef struct byteor_bytes_sink byteor_bytes_sink;

struct byteor_bytes_sink {
    byteor_sink base;
    byteor_framing_options framing;
    uint8_t *output;
    size_t output_max; /* bytes handed over at once */
    size_t partial;    /* bytes of the first message not done that the kernel already has */
    uint32_t crc_sent; /* packets: of all bytes handed over */
    ptrdiff_t (*emit)(byteor_bytes_sink *self, const uint8_t *data, size_t bytes);
    void (*end)(byteor_bytes_sink *self);
    uint32_t sync; /* enum byteor_sync */
    uint8_t keeps_crc;
    uint8_t ended;
    int fd;
    int listen_fd;  /* peers come from here, -1: from nowhere */
    uint32_t epoch; /* packets */
    uint8_t resumed;
    char text[256]; /* instance-owned error text */
};

byteor_bytes_sink *byteor_bytes_sink_new(const byteor_framing_options *framing);
void byteor_bytes_sink_free(byteor_bytes_sink *self);
void byteor_bytes_sink_restore(byteor_bytes_sink *self, const uint64_t position[BYTEOR_POSITION_WORDS]);

ptrdiff_t byteor_emit_file(byteor_bytes_sink *self, const uint8_t *data, size_t bytes);
ptrdiff_t byteor_emit_socket(byteor_bytes_sink *self, const uint8_t *data, size_t bytes);
ptrdiff_t byteor_emit_packets(byteor_bytes_sink *self, const uint8_t *data, size_t bytes);
void byteor_end_file(byteor_bytes_sink *self);
void byteor_end_socket(byteor_bytes_sink *self);
void byteor_end_packets(byteor_bytes_sink *self);

#endif
