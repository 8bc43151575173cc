/* journal.c: byteor's journal beside plain sequential I/O of the same bytes, as a small server.
 *
 *     journal DIRECTORY CPU
 *
 * One command a line: `append|plain PAYLOAD MIB SYNC` writes that many MiB, `make PAYLOAD MIB` keeps a journal for `replay`
 * and `map` to read. SYNC 1 asks for fdatasync after every 64 KiB, on both sides. What is timed is opening, writing and
 * closing; files are removed outside of it. The journal is written and read by its own code, segments and all. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "journal.h"

#define CHUNK_BYTES (64u << 10)
#define RING_SLOTS 1024u
#define SEGMENT_BYTES (16u << 20) /* the default */
#define BATCH 256u

static const char *directory;
static uint8_t ring[RING_SLOTS * 1024u] __attribute__((aligned(4096)));
static uint8_t chunk[CHUNK_BYTES] __attribute__((aligned(4096)));

typedef struct result {
    uint64_t bytes, frames, sum;
    double seconds;
} result;

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail(const char *what) {
    printf("error=%s\n", what);
    exit(1);
}

static void clear(void) {
    DIR *found = opendir(directory);
    if (found == NULL) fail("directory");
    for (struct dirent *entry = readdir(found); entry; entry = readdir(found))
        if (entry->d_name[0] != '.') (void)unlinkat(dirfd(found), entry->d_name, 0);
    closedir(found);
}

static int open_directory(void) {
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) fail("directory");
    return fd;
}

/* Slots as a lane has them, `payload` bytes each; what the first word says can be added up again. */
static uint32_t fill_ring(uint32_t payload) {
    uint32_t slot_bytes = (payload + BYTEOR_SLOT_HEADER_BYTES + 63u) & ~63u;
    for (uint32_t i = 0; i < RING_SLOTS; i++) {
        byteor_slot *slot = (byteor_slot *)(void *)(ring + (size_t)i * slot_bytes);
        slot->length = (uint16_t)payload;
        slot->time_ns = i;
        memset(byteor_payload(slot), (int)i, payload);
    }
    return slot_bytes;
}

static result append(uint32_t payload, uint64_t bytes, int sync) {
    static byteor_journal_writer w;
    memset(&w, 0, sizeof w);
    uint32_t slot_bytes = fill_ring(payload);
    uint64_t frame_bytes = byteor_journal_frame_bytes(payload), count = bytes / frame_bytes, since = 0;
    result found = {.frames = count, .bytes = count * frame_bytes};
    double begin = now_s();
    snprintf(w.directory, sizeof w.directory, "%s", directory);
    w.directory_fd = open_directory();
    w.fd = -1;
    w.segment_bytes = SEGMENT_BYTES;
    w.durable = 1;
    w.sync = sync ? BYTEOR_SYNC_EVERY_BATCH : BYTEOR_SYNC_NONE;
    for (uint64_t sequence = 0; sequence < count;) {
        uint64_t end = sequence + BATCH < count ? sequence + BATCH : count;
        for (; sequence < end; sequence++) {
            const byteor_slot *slot = (const byteor_slot *)(const void *)(ring + (sequence % RING_SLOTS) * slot_bytes);
            if (byteor_journal_append(&w, sequence, sequence + 1, slot, sequence) != 0) fail(w.error_text);
            since += frame_bytes;
            if (since < CHUNK_BYTES) continue;
            since = 0;
            if (byteor_journal_flush(&w, sequence) != 0) fail(w.error_text);
        }
    }
    if (byteor_journal_flush(&w, count) != 0) fail(w.error_text);
    byteor_journal_close(&w);
    found.seconds = now_s() - begin;
    return found;
}

static result plain(uint32_t payload, uint64_t bytes, int sync) {
    uint64_t frame_bytes = byteor_journal_frame_bytes(payload);
    result found = {.frames = bytes / frame_bytes, .bytes = bytes / frame_bytes * frame_bytes};
    char path[600];
    snprintf(path, sizeof path, "%s/plain", directory);
    for (uint32_t i = 0; i < CHUNK_BYTES; i++) chunk[i] = (uint8_t)i;
    double begin = now_s();
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) fail("open");
    for (uint64_t done = 0; done < found.bytes;) {
        uint64_t left = found.bytes - done;
        ssize_t wrote = write(fd, chunk, left < CHUNK_BYTES ? left : CHUNK_BYTES);
        if (wrote <= 0) fail("write");
        done += (uint64_t)wrote;
        if (sync && fdatasync(fd) != 0) fail("fdatasync");
    }
    close(fd);
    found.seconds = now_s() - begin;
    return found;
}

/* Every frame through the reader, its checksum verified; its payload's first word added up. */
static result replay(uint64_t count, uint64_t bytes) {
    static byteor_journal_reader r;
    memset(&r, 0, sizeof r);
    result found = {.bytes = bytes};
    uint64_t first;
    double begin = now_s();
    r.directory_fd = open_directory();
    for (uint64_t sequence = 0; sequence < count; sequence++) {
        const byteor_journal_frame *frame = byteor_journal_find(&r, sequence, &first);
        if (frame == NULL) fail("a frame is gone");
        uint64_t word;
        memcpy(&word, frame + 1, sizeof word);
        found.sum += word;
        found.frames++;
    }
    byteor_journal_reader_close(&r);
    found.seconds = now_s() - begin;
    return found;
}

static uint64_t add_words(const uint8_t *map, uint64_t bytes) {
    uint64_t sum = 0;
    for (const uint64_t *at = (const uint64_t *)(const void *)map, *end = at + bytes / 8; at < end; at++) sum += *at;
    return sum;
}

/* The same files by mmap, read once from beginning to end, words added up. */
static result map_read(uint64_t bytes) {
    result found = {.bytes = 0};
    volatile uint64_t sum = 0;
    double begin = now_s();
    int top = open_directory();
    DIR *entries = fdopendir(top);
    if (entries == NULL) fail("directory");
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        if (entry->d_name[0] == '.') continue;
        int fd = openat(top, entry->d_name, O_RDONLY | O_CLOEXEC);
        struct stat info;
        if (fd < 0 || fstat(fd, &info) != 0) fail("open");
        uint64_t size = (uint64_t)info.st_size < bytes - found.bytes ? (uint64_t)info.st_size : bytes - found.bytes;
        uint8_t *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) fail("mmap");
        sum = sum + add_words(map, size);
        found.bytes += size;
        munmap(map, (size_t)info.st_size);
        close(fd);
    }
    closedir(entries);
    found.seconds = now_s() - begin;
    found.sum = sum;
    return found;
}

static void show(result found) {
    printf("ok=1 rate=%.0f bytes=%llu frames=%llu sum=%llu\n", (double)found.bytes / found.seconds, (unsigned long long)found.bytes,
           (unsigned long long)found.frames, (unsigned long long)found.sum);
}

int main(int words, char **word) {
    if (words != 3) return fprintf(stderr, "usage: journal DIRECTORY CPU\n"), 2;
    directory = word[1];
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET((size_t)atoi(word[2]), &only);
    (void)sched_setaffinity(0, sizeof only, &only);
    char line[128], what[16];
    unsigned payload, mib;
    int sync;
    result made = {.bytes = 0};
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%15s %u %u %d", what, &payload, &mib, &sync) != 4 || payload < 8 || payload > 1000) {
            printf("error=usage\n");
            continue;
        }
        if (strcmp(what, "replay") == 0) show(replay(made.frames, made.bytes));
        else if (strcmp(what, "map") == 0) show(map_read(made.bytes));
        else {
            clear();
            result found = strcmp(what, "plain") == 0 ? plain(payload, (uint64_t)mib << 20, sync) : append(payload, (uint64_t)mib << 20, sync);
            show(found);
            if (strcmp(what, "make") == 0) made = found;
            else clear();
        }
    }
    clear();
    return 0;
}
