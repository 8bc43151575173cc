/* journal_segment.c: see journal.h. System calls happen when a segment begins or ends, where a sync is asked for, and once for
 * each stretch of a segment, never per message.
 *
 * A stretch is made ready before its first frame: zeros are written to it and its pages mapped, in two calls. Touched page by
 * page the same memory costs four times as much, most of it for entering the kernel and for its filesystem. A reader
 * leaves that to its faults: the kernel maps 16 pages that are in memory at each, which costs less than to ask for a stretch.
 *
 * A staged writer does without the map: it hands whole pieces to the kernel, which costs it no page faults, but shows a
 * frame only then. That suits who writes for the disk alone, and can do again what was not handed over. With a second
 * stage a piece is on its way while the next is made; there is never more than one, so that the file has no hole. */
#define _GNU_SOURCE
#include "journal.h"

#include "aio_write.h"
#include "killpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NAME_BYTES 32
#define NOT_SYNCED "fdatasync failed; what it was for may be lost, so nothing more is written and it is not tried again"
#define ZERO_BYTES 65536u
#define DIRECT_BYTES 131072u /* from here on a piece is written past the page cache */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static uint8_t zeros[ZERO_BYTES]; /* never written, so it takes no memory */

static void segment_name(uint64_t segment, char *name) { snprintf(name, NAME_BYTES, "%020llu.seg", (unsigned long long)segment); }

static int failed(byteor_journal_writer *w, const char *what) {
    w->error_number = errno ? errno : EIO;
    snprintf(w->error_text, sizeof w->error_text, "journal %s: %s: %s", w->directory, what, strerror(w->error_number));
    return -1;
}

/* The kernel forgets what it could not write: nobody may try again and be told that all is well. */
static int sync_failed(byteor_journal_writer *w, const char *what) {
    w->unsure = 1;
    return failed(w, what);
}

static int no_room(byteor_journal_writer *w) {
    int kept = errno;
    failed(w, "no room for the next segment");
    if (kept == ENOSPC || kept == EDQUOT)
        snprintf(w->error_text, sizeof w->error_text,
                 "journal %s: %s: the next segment wants %llu bytes; make room, or set retention_bytes so that old ones go; all that was released is in it",
                 w->directory, strerror(kept), (unsigned long long)w->segment_bytes);
    errno = kept;
    return -1;
}

static void let_go(byteor_journal_writer *w) {
    (void)byteor_journal_settle(w);
    if (w->map) munmap(w->map, w->segment_bytes);
    if (w->fd >= 0) close(w->fd);
    if (w->stage && w->direct_fd >= 0) close(w->direct_fd);
    w->map = NULL;
    w->fd = w->direct_fd = -1;
    w->staged = 0;
}

/* A segment is full: what of it is not on the disk yet is synced now, or by who keeps to the interval. */
static int end_segment(byteor_journal_writer *w) {
    if (w->fd < 0) return 0;
    if (w->stage && byteor_journal_put(w) != 0) return -1;
    int later = w->stage && w->sync == BYTEOR_SYNC_INTERVAL && w->behind_count < BYTEOR_JOURNAL_BEHIND;
    if (!later && w->dirty && w->sync != BYTEOR_SYNC_NONE && fdatasync(w->fd) != 0) return sync_failed(w, NOT_SYNCED);
    if (later) {
        w->behind[w->behind_count++] = w->fd;
        w->fd = -1;
    }
    return 0;
}

static int write_all(int fd, const uint8_t *from, uint64_t bytes, uint64_t at) {
    while (bytes) {
        ssize_t wrote = pwrite(fd, from, bytes, (off_t)at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return -1;
        from += wrote;
        at += (uint64_t)wrote;
        bytes -= (uint64_t)wrote;
    }
    return 0;
}

/* Much is written past the page cache: that takes little CPU, and the disk as fast as it is. Little would have it write all
 * the time. A block that is not full yet goes with zeros behind, and again when it is. */
static int write_staged(byteor_journal_writer *w) {
    uint64_t begin = w->offset - w->staged, from = begin / BYTEOR_JOURNAL_BLOCK * BYTEOR_JOURNAL_BLOCK;
    uint64_t upto = (w->offset + BYTEOR_JOURNAL_BLOCK - 1u) / BYTEOR_JOURNAL_BLOCK * BYTEOR_JOURNAL_BLOCK;
    if (w->direct_fd >= 0 && w->staged >= DIRECT_BYTES) {
        memset(w->stage + (w->offset - w->stage_at), 0, upto - w->offset);
        if (write_all(w->direct_fd, w->stage + (from - w->stage_at), upto - from, from) == 0) return 0;
        if (errno != EINVAL) return -1;
        close(w->direct_fd); /* this file wants other blocks */
        w->direct_fd = -1;
    }
    return write_all(w->fd, w->stage + (begin - w->stage_at), w->staged, begin);
}

/* What comes from `offset` on is not in the file. */
static int put_failed(byteor_journal_writer *w, uint64_t offset) {
    w->offset = offset;
    w->staged = 0;
    w->unwritten = 1;
    return sync_failed(w, "it cannot be written; what was to be in it is lost, so nothing more is written");
}

int byteor_journal_settle(byteor_journal_writer *w) {
    uint64_t bytes = w->flying, from = w->flying_from;
    if (bytes == 0) return 0;
    w->flying = 0;
    int64_t wrote = byteor_aio_wait(w->aio);
    if (wrote < 0 && wrote != -EINVAL) {
        errno = (int)-wrote;
        return put_failed(w, w->flying_begin);
    }
    uint64_t done = wrote < 0 ? 0 : (uint64_t)wrote; /* not all: the rest goes where any file takes it */
    if (done < bytes && write_all(w->fd, w->spare + from % BYTEOR_JOURNAL_BLOCK + done, bytes - done, from + done) != 0)
        return put_failed(w, w->flying_begin);
    w->unput_frames -= w->flying_frames;
    w->unput_payload -= w->flying_payload;
    return 0;
}

int byteor_journal_start(byteor_journal_writer *w) {
    int alone = w->spare == NULL || w->sync == BYTEOR_SYNC_EVERY_BATCH || w->direct_fd < 0 || w->staged < DIRECT_BYTES;
    if (!alone && w->aio == 0) w->aio = byteor_aio_open();
    if (alone || w->aio == 0) return byteor_journal_put(w);
    if (byteor_journal_settle(w) != 0) return -1;
    uint64_t begin = w->offset - w->staged, from = begin / BYTEOR_JOURNAL_BLOCK * BYTEOR_JOURNAL_BLOCK;
    uint64_t upto = (w->offset + BYTEOR_JOURNAL_BLOCK - 1u) / BYTEOR_JOURNAL_BLOCK * BYTEOR_JOURNAL_BLOCK;
    memset(w->stage + (w->offset - w->stage_at), 0, upto - w->offset);
    if (byteor_aio_write(w->aio, w->direct_fd, w->stage + (from - w->stage_at), upto - from, from) != 0) return byteor_journal_put(w);
    w->flying = upto - from;
    w->flying_from = from;
    w->flying_begin = begin;
    w->flying_frames = w->unput_frames;
    w->flying_payload = w->unput_payload;
    uint64_t block = w->offset / BYTEOR_JOURNAL_BLOCK * BYTEOR_JOURNAL_BLOCK; /* begun, and to be written again */
    uint8_t *full = w->stage;
    memcpy(w->spare, full + (block - w->stage_at), w->offset - block);
    w->stage = w->spare;
    w->spare = full;
    w->stage_at = block;
    w->staged = 0;
    return 1;
}

int byteor_journal_put(byteor_journal_writer *w) {
    if (byteor_journal_settle(w) != 0) return -1;
    if (w->staged && write_staged(w) != 0) return put_failed(w, w->offset - w->staged);
    w->staged = 0;
    w->unput_frames = w->unput_payload = 0;
    uint64_t block = w->offset / BYTEOR_JOURNAL_BLOCK * BYTEOR_JOURNAL_BLOCK; /* begun, and to be written again */
    if (block != w->stage_at) memmove(w->stage, w->stage + (block - w->stage_at), w->offset - block);
    w->stage_at = block;
    if (w->sync == BYTEOR_SYNC_EVERY_BATCH && w->dirty && fdatasync(w->fd) != 0) return sync_failed(w, NOT_SYNCED);
    if (w->sync == BYTEOR_SYNC_EVERY_BATCH) w->dirty = 0;
    return 0;
}

static int map_segment(byteor_journal_writer *w, const char *name, int flags) {
    w->fd = openat(w->directory_fd, name, flags | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w->fd < 0) return failed(w, "segment cannot be opened");
    /* Space first: the first touch of a page that the disk has no room for kills by SIGBUS. */
    if (fallocate(w->fd, 0, 0, (off_t)w->segment_bytes) != 0) return no_room(w);
    if (w->stage) {
        int whole = w->segment_bytes % BYTEOR_JOURNAL_BLOCK == 0;
        w->direct_fd = whole ? openat(w->directory_fd, name, O_WRONLY | O_DIRECT | O_NOFOLLOW | O_CLOEXEC) : -1;
        return 0;
    }
    void *map = mmap(NULL, w->segment_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
    if (map == MAP_FAILED) return failed(w, "segment cannot be mapped");
    w->map = map;
    w->ready = 0;
    return 0;
}

static int write_zeros(byteor_journal_writer *w, uint64_t from, uint64_t to) {
    struct iovec piece[BYTEOR_JOURNAL_STRETCH / ZERO_BYTES];
    while (from < to) {
        int count = 0;
        for (uint64_t left = to - from; left && count < (int)(sizeof piece / sizeof piece[0]); count++) {
            piece[count] = (struct iovec){.iov_base = zeros, .iov_len = left < ZERO_BYTES ? left : ZERO_BYTES};
            left -= piece[count].iov_len;
        }
        ssize_t wrote = pwritev(w->fd, piece, count, (off_t)from);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return failed(w, "the next stretch of its segment cannot be written");
        from += (uint64_t)wrote;
    }
    return 0;
}

/* Before the first frame that reaches behind `ready`. In shared memory the pages are zero already. */
static int make_ready(byteor_journal_writer *w, uint64_t upto) {
    while (w->ready < upto) {
        uint64_t left = w->segment_bytes - w->ready, bytes = left < BYTEOR_JOURNAL_STRETCH ? left : BYTEOR_JOURNAL_STRETCH;
        if (w->durable && write_zeros(w, w->ready, w->ready + bytes) != 0) return -1;
        (void)madvise(w->map + w->ready, bytes, MADV_POPULATE_WRITE); /* where it fails, touching does the same, slowly */
        w->ready += bytes;
    }
    return 0;
}

/* The file of a new segment with its header, under its name. */
static int make_segment(byteor_journal_writer *w, uint64_t segment, uint64_t unix_ns, const char *temporary) {
    char name[NAME_BYTES];
    segment_name(segment, name);
    if (map_segment(w, temporary, O_CREAT | O_EXCL) != 0) return -1;
    byteor_journal_header header = {.version = BYTEOR_JOURNAL_VERSION, .segment = segment,
                                    .segment_bytes = w->segment_bytes, .created_unix_ns = unix_ns};
    memcpy(header.magic, BYTEOR_JOURNAL_MAGIC, sizeof header.magic);
    header.header_crc32c = byteor_journal_header_crc(header);
    w->offset = sizeof header;
    if (w->stage) {
        memcpy(w->stage, &header, sizeof header);
        w->stage_at = 0;
        w->staged = sizeof header;
        if (byteor_journal_put(w) != 0) return -1;
    } else {
        if (make_ready(w, sizeof header) != 0) return -1;
        memcpy(w->map, &header, sizeof header);
    }
    int synced = w->sync == BYTEOR_SYNC_EVERY_BATCH || (w->sync != BYTEOR_SYNC_NONE && !w->stage);
    if (synced && fdatasync(w->fd) != 0) return sync_failed(w, "the new segment could not be synced");
    BYTEOR_KILL_POINT(29);
    if (renameat(w->directory_fd, temporary, w->directory_fd, name) != 0) return failed(w, "the new segment could not be named");
    BYTEOR_KILL_POINT(30);
    if (synced && fsync(w->directory_fd) != 0) return sync_failed(w, "the directory could not be synced");
    return 0;
}

static int begin_segment(byteor_journal_writer *w, uint64_t segment, uint64_t unix_ns) {
    char temporary[NAME_BYTES + 8];
    snprintf(temporary, sizeof temporary, ".%020llu.seg.new", (unsigned long long)segment);
    let_go(w);
    if (w->segments == BYTEOR_JOURNAL_SEGMENTS_MAX) {
        errno = EMFILE;
        return failed(w, "too many segments; set retention_bytes or a larger segment_bytes");
    }
    (void)unlinkat(w->directory_fd, temporary, 0);
    if (make_segment(w, segment, unix_ns, temporary) != 0) {
        int kept = errno;
        let_go(w);
        (void)unlinkat(w->directory_fd, temporary, 0);
        errno = kept;
        return -1;
    }
    while (w->segments && w->id[w->segments - 1] >= segment) w->segments--; /* of a batch that was not committed */
    w->segment = segment;
    w->id[w->segments] = segment;
    w->last_unix_ns[w->segments++] = unix_ns;
    return 0;
}

int byteor_journal_resume(byteor_journal_writer *w, uint64_t segment, uint64_t offset) {
    char name[NAME_BYTES];
    while (w->segments && w->id[w->segments - 1] > segment) { /* begun by a batch that was not committed */
        segment_name(w->id[--w->segments], name);
        (void)unlinkat(w->directory_fd, name, 0);
    }
    segment_name(segment, name);
    let_go(w);
    if (map_segment(w, name, 0) != 0) return -1;
    if (offset < sizeof(byteor_journal_header) || offset > w->segment_bytes) {
        errno = EINVAL;
        return failed(w, "the place to go on at lies outside the segment");
    }
    w->segment = segment;
    w->offset = offset;
    if (w->stage) {
        int cut = ftruncate(w->fd, (off_t)offset) == 0 && fallocate(w->fd, 0, 0, (off_t)w->segment_bytes) == 0;
        if (!cut) return failed(w, "what lies behind its last frame cannot be cut");
        w->stage_at = offset / BYTEOR_JOURNAL_BLOCK * BYTEOR_JOURNAL_BLOCK;
        ssize_t begun = (ssize_t)(offset - w->stage_at);
        if (pread(w->fd, w->stage, (size_t)begun, (off_t)w->stage_at) != begun) return failed(w, "its last block cannot be read");
        return 0;
    }
    memset(w->map + offset, 0, w->segment_bytes - offset);
    w->ready = w->segment_bytes;
    return 0;
}

/* Where a frame of `bytes` can be laid, in the map or in the stage; NULL with the error noted. */
static uint8_t *frame_place(byteor_journal_writer *w, uint64_t bytes) {
    if (w->stage == NULL) {
        if (w->offset + bytes > w->ready && make_ready(w, w->offset + bytes) != 0) return NULL;
        return w->map + w->offset;
    }
    uint64_t used = w->offset - w->stage_at + BYTEOR_JOURNAL_BLOCK; /* one for what pads the last */
    if (used + bytes > BYTEOR_JOURNAL_STAGE && byteor_journal_put(w) != 0) return NULL;
    uint8_t *place = w->stage + (w->offset - w->stage_at);
    memset(place + bytes - sizeof(uint64_t), 0, sizeof(uint64_t)); /* what pads it */
    w->staged += (uint32_t)bytes;
    return place;
}

int byteor_journal_append(byteor_journal_writer *w, uint64_t sequence, uint64_t rx_sequence, const byteor_slot *slot, uint64_t unix_ns) {
    uint64_t bytes = byteor_journal_frame_bytes(slot->length);
    if (w->fd < 0 || w->segment_bytes - w->offset < bytes) {
        if (end_segment(w) != 0 || begin_segment(w, sequence, unix_ns) != 0) return -1;
    }
    uint8_t *place = frame_place(w, bytes);
    if (place == NULL) return -1;
    byteor_journal_frame frame = {.length = slot->length + 1u, .type = slot->type, .sequence = sequence,
                                  .rx_sequence = rx_sequence, .time_ns = slot->time_ns, .unix_ns = unix_ns};
    const uint8_t *payload = (const uint8_t *)slot + BYTEOR_SLOT_HEADER_BYTES;
    frame.crc32c = byteor_journal_crc_filled(&frame, payload, slot->length, w->segment);
    memcpy(place + sizeof frame, payload, slot->length);
    BYTEOR_KILL_POINT(28);
    byteor_journal_frame *made = (byteor_journal_frame *)(void *)place; /* by field, for the same reason */
    made->length = frame.length;
    made->type = frame.type;
    memset(made->pad, 0, sizeof made->pad);
    made->sequence = sequence;
    made->rx_sequence = rx_sequence;
    made->time_ns = slot->time_ns;
    made->unix_ns = unix_ns;
    made->reserved = 0;
    made->crc32c = frame.crc32c;
    w->offset += bytes;
    w->unput_frames++;
    w->unput_payload += slot->length;
    w->last_unix_ns[w->segments - 1] = unix_ns;
    w->dirty = 1;
    return 0;
}

int byteor_journal_flush(byteor_journal_writer *w, uint64_t now_ns) {
    if (w->error_number) return -1;
    if (!w->dirty || w->sync == BYTEOR_SYNC_NONE || w->fd < 0) return 0;
    if (w->sync == BYTEOR_SYNC_INTERVAL && now_ns - w->synced_ns < w->sync_interval_ns) return 0;
    if (fdatasync(w->fd) != 0) return sync_failed(w, NOT_SYNCED);
    w->dirty = 0;
    w->synced_ns = now_ns;
    return 0;
}

void byteor_journal_retain(byteor_journal_writer *w, uint64_t unix_ns) {
    char name[NAME_BYTES];
    while (w->segments > 1) {
        int large = w->retention_bytes && (uint64_t)w->segments * w->segment_bytes > w->retention_bytes;
        int old = w->retention_ns && unix_ns - w->last_unix_ns[0] > w->retention_ns && unix_ns > w->last_unix_ns[0];
        int many = w->retention_frames && w->id[w->segments - 1] - w->id[1] >= w->retention_frames;
        if (!large && !old && !many) return;
        segment_name(w->id[0], name);
        (void)unlinkat(w->directory_fd, name, 0);
        w->segments--;
        memmove(w->id, w->id + 1, w->segments * sizeof w->id[0]);
        memmove(w->last_unix_ns, w->last_unix_ns + 1, w->segments * sizeof w->last_unix_ns[0]);
    }
}

void byteor_journal_close(byteor_journal_writer *w) {
    let_go(w);
    while (w->behind_count) close(w->behind[--w->behind_count]);
    if (w->directory_fd >= 0) close(w->directory_fd);
    w->directory_fd = -1;
    byteor_aio_close(w->aio);
    w->aio = 0;
    free(w->stage);
    free(w->spare);
    w->stage = w->spare = NULL;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static void reader_let_go(byteor_journal_reader *r) {
    if (r->map) munmap(r->map, r->segment_bytes);
    r->map = NULL;
}

/* Newest segment that begins at or before `sequence`; *first: the oldest of all. UINT64_MAX when there is none. */
static uint64_t find_segment(const byteor_journal_reader *r, uint64_t sequence, uint64_t *first) {
    uint64_t found = UINT64_MAX;
    *first = UINT64_MAX;
    int fd = openat(r->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) return found;
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory)) {
        char *end = NULL;
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        uint64_t id = strtoull(entry->d_name, &end, 10);
        if (end == NULL || strcmp(end, ".seg") != 0) continue;
        if (id < *first) *first = id;
        if (id <= sequence && (found == UINT64_MAX || id > found)) found = id;
    }
    closedir(directory);
    return found;
}

static int open_segment(byteor_journal_reader *r, uint64_t segment) {
    char name[NAME_BYTES];
    struct stat info;
    segment_name(segment, name);
    reader_let_go(r);
    int fd = openat(r->directory_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -1;
    void *map = MAP_FAILED;
    if (fstat(fd, &info) == 0 && info.st_size >= (off_t)sizeof(byteor_journal_header))
        map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) return -1;
    r->map = map;
    r->segment = segment;
    r->segment_bytes = (uint64_t)info.st_size;
    r->offset = sizeof(byteor_journal_header);
    r->next = segment;
    memset(r->seen_sequence, 0, sizeof r->seen_sequence);
    return 0;
}

/* Go back to a frame that was read before and not taken. */
static void go_back(byteor_journal_reader *r, uint64_t sequence) {
    if (r->map == NULL || r->seen_sequence[sequence % BYTEOR_JOURNAL_SEEN] != sequence + 1) return;
    r->offset = r->seen_offset[sequence % BYTEOR_JOURNAL_SEEN];
    r->next = sequence;
}

const byteor_journal_frame *byteor_journal_find(byteor_journal_reader *r, uint64_t sequence, uint64_t *first) {
    if (r->next != sequence) go_back(r, sequence);
    for (int turn = 0; turn < 3; turn++) {
        if (r->map && r->next <= sequence) {
            for (;;) {
                const byteor_journal_frame *frame = byteor_journal_at(r->map, r->segment_bytes, r->offset, r->segment);
                if (frame == NULL || frame->sequence != r->next) break;
                r->seen_sequence[r->next % BYTEOR_JOURNAL_SEEN] = r->next + 1;
                r->seen_offset[r->next % BYTEOR_JOURNAL_SEEN] = r->offset;
                r->offset += byteor_journal_frame_bytes(frame->length - 1u);
                if (r->next++ == sequence) return frame;
            }
        }
        uint64_t segment = find_segment(r, sequence, first);
        if (segment == UINT64_MAX || (r->map && segment == r->segment && r->next > sequence + 1)) return NULL;
        if (open_segment(r, segment) != 0) continue; /* gone meanwhile */
    }
    return NULL;
}

void byteor_journal_reader_close(byteor_journal_reader *r) {
    reader_let_go(r);
    if (r->directory_fd >= 0) close(r->directory_fd);
    r->directory_fd = -1;
}
