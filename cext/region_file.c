/* region_file.c: see region.h. */
#define _GNU_SOURCE
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "atomics.h"
#include "crc32c.h"
#include "region_fault.h"

#define HEADER_CRC_BYTES offsetof(byteor_region_header, header_crc32c)

static uint32_t *init_word(const byteor_map *map) { return (uint32_t *)(void *)(map->base + BYTEOR_INIT_OFFSET); }

void byteor_header_seal(byteor_region_header *header) {
    memcpy(header->magic, BYTEOR_MAGIC, sizeof header->magic);
    header->layout_version = BYTEOR_LAYOUT_VERSION;
    header->header_crc32c = byteor_crc32c(0, header, HEADER_CRC_BYTES);
}

int byteor_region_allocate(int fd, uint64_t bytes, byteor_map *map, char *text, size_t text_bytes) {
    /* Space first: a sparse file on a full tmpfs maps well and kills with SIGBUS at the first touch. */
    if (fallocate(fd, 0, 0, (off_t)bytes) != 0) {
        snprintf(text, text_bytes, "%s", strerror(errno));
        return errno == ENOSPC || errno == ENOMEM ? BYTEOR_REGION_NO_SPACE : BYTEOR_REGION_IO;
    }
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (base == MAP_FAILED) {
        snprintf(text, text_bytes, "%s", strerror(errno));
        return BYTEOR_REGION_IO;
    }
    map->base = base;
    map->bytes = bytes;
    map->watch = byteor_fault_watch(base, bytes, fd);
    byteor_store_release32(init_word(map), BYTEOR_INIT_BUSY);
    return 0;
}

void byteor_region_ready(byteor_map *map) { byteor_store_release32(init_word(map), BYTEOR_INIT_READY); }

static int section_fits(uint64_t offset, uint64_t bytes, uint64_t total) {
    return offset % BYTEOR_LINE == 0 && offset >= BYTEOR_PAGE && offset <= total && bytes <= total - offset;
}

static int check_ring(const byteor_region_header *h, char *text, size_t text_bytes) {
    uint64_t capacity = h->size_a;
    uint32_t slot = h->counts[0], cells = h->counts[1];
    if (capacity < BYTEOR_CAPACITY_MIN || capacity > BYTEOR_CAPACITY_MAX || (capacity & (capacity - 1))) {
        snprintf(text, text_bytes, "capacity %llu is not a power of two from %u to %u", (unsigned long long)capacity,
                 BYTEOR_CAPACITY_MIN, BYTEOR_CAPACITY_MAX);
        return BYTEOR_REGION_CORRUPT;
    }
    if (slot < BYTEOR_SLOT_BYTES_MIN || slot > BYTEOR_SLOT_BYTES_MAX || slot % BYTEOR_LINE) {
        snprintf(text, text_bytes, "slot size %u is not a multiple of %u from %u to %u", slot, BYTEOR_LINE,
                 BYTEOR_SLOT_BYTES_MIN, BYTEOR_SLOT_BYTES_MAX);
        return BYTEOR_REGION_CORRUPT;
    }
    if (cells > BYTEOR_CELLS_MAX) { /* none: every consumer is lossy */
        snprintf(text, text_bytes, "%u gating cells, wanted up to %u", cells, BYTEOR_CELLS_MAX);
        return BYTEOR_REGION_CORRUPT;
    }
    if (!section_fits(h->section[0], sizeof(byteor_ring_producer), h->total_bytes) ||
        !section_fits(h->section[1], (uint64_t)cells * sizeof(byteor_cell), h->total_bytes) ||
        !section_fits(h->section[2], capacity * slot, h->total_bytes)) {
        snprintf(text, text_bytes, "a section lies outside the %llu bytes of the region", (unsigned long long)h->total_bytes);
        return BYTEOR_REGION_CORRUPT;
    }
    return 0;
}

static int check_unit(const byteor_region_header *h, const uint8_t *base, uint32_t index, char *text, size_t text_bytes) {
    const byteor_unit *unit = (const byteor_unit *)(const void *)(base + h->section[1] + index * h->size_a);
    int bad = unit->member_count < 1 || unit->member_count > BYTEOR_MEMBERS_MAX || unit->undo_slot_bytes > unit->undo_bytes ||
              !section_fits(unit->undo_offset, unit->undo_bytes, h->total_bytes);
    for (uint32_t m = 0; !bad && m < unit->member_count; m++) bad = unit->member_role[m] >= h->counts[1];
    if (bad) snprintf(text, text_bytes, "unit %u is inconsistent", index);
    return bad ? BYTEOR_REGION_CORRUPT : 0;
}

static int check_role(const byteor_region_header *h, const uint8_t *base, uint32_t index, char *text, size_t text_bytes) {
    const byteor_role *role = (const byteor_role *)(const void *)(base + h->section[2] + index * h->size_b);
    uint64_t copies = role->state_bytes > BYTEOR_STATE_DOUBLE_BYTES_MAX ? 1 : 2;
    int bad = role->kind < BYTEOR_ROLE_INGRESS || role->kind > BYTEOR_ROLE_MERGE || role->unit >= h->counts[0] ||
              role->member >= BYTEOR_MEMBERS_MAX || role->depends_count > BYTEOR_CELLS_MAX ||
              role->cell >= (int32_t)BYTEOR_CELLS_MAX || memchr(role->name, 0, sizeof role->name) == NULL ||
              memchr(role->stage, 0, sizeof role->stage) == NULL;
    for (uint32_t d = 0; !bad && d < role->depends_count; d++) bad = role->depends[d] >= BYTEOR_CELLS_MAX;
    if (!bad && role->state_bytes)
        bad = role->state_bytes > h->total_bytes || !section_fits(role->state_offset, role->state_bytes * copies, h->total_bytes);
    if (bad) snprintf(text, text_bytes, "role %u is inconsistent", index);
    return bad ? BYTEOR_REGION_CORRUPT : 0;
}

static int check_control(const byteor_region_header *h, const uint8_t *base, char *text, size_t text_bytes) {
    uint64_t units = h->counts[0], roles = h->counts[1];
    if (units < 1 || roles < 1 || units > BYTEOR_ROLES_MAX || roles > BYTEOR_ROLES_MAX || h->size_a != sizeof(byteor_unit) ||
        h->size_b != sizeof(byteor_role)) {
        snprintf(text, text_bytes, "%llu units of %llu bytes and %llu roles of %llu bytes, wanted up to %u of %zu and %zu",
                 (unsigned long long)units, (unsigned long long)h->size_a, (unsigned long long)roles,
                 (unsigned long long)h->size_b, BYTEOR_ROLES_MAX, sizeof(byteor_unit), sizeof(byteor_role));
        return BYTEOR_REGION_CORRUPT;
    }
    if (!section_fits(h->section[0], sizeof(byteor_run_block), h->total_bytes) ||
        !section_fits(h->section[1], units * h->size_a, h->total_bytes) ||
        !section_fits(h->section[2], roles * h->size_b, h->total_bytes)) {
        snprintf(text, text_bytes, "a section lies outside the %llu bytes of the region", (unsigned long long)h->total_bytes);
        return BYTEOR_REGION_CORRUPT;
    }
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < units; i++) status = check_unit(h, base, i, text, text_bytes);
    for (uint32_t i = 0; status == 0 && i < roles; i++) status = check_role(h, base, i, text, text_bytes);
    return status;
}

static int check_header(const byteor_map *map, uint32_t kind, char *text, size_t text_bytes) {
    const byteor_region_header *h = (const byteor_region_header *)(const void *)map->base;
    if (memcmp(h->magic, BYTEOR_MAGIC, sizeof h->magic) != 0) {
        snprintf(text, text_bytes, "it does not begin with the mark of a region");
        return BYTEOR_REGION_FOREIGN;
    }
    if (h->layout_version != BYTEOR_LAYOUT_VERSION || (h->required_features & ~(uint64_t)BYTEOR_FEATURES_KNOWN)) {
        snprintf(text, text_bytes, "layout version %u with features %#llx, this byteor reads version %u", h->layout_version,
                 (unsigned long long)h->required_features, BYTEOR_LAYOUT_VERSION);
        return BYTEOR_REGION_VERSION;
    }
    uint32_t crc = byteor_crc32c(0, h, HEADER_CRC_BYTES);
    if (crc != h->header_crc32c) {
        snprintf(text, text_bytes, "header checksum %08x, computed %08x", h->header_crc32c, crc);
        return BYTEOR_REGION_CORRUPT;
    }
    if (h->total_bytes != map->bytes) {
        snprintf(text, text_bytes, "the file has %llu bytes, its header says %llu", (unsigned long long)map->bytes,
                 (unsigned long long)h->total_bytes);
        return BYTEOR_REGION_TRUNCATED;
    }
    if (h->kind != kind) {
        snprintf(text, text_bytes, "region kind %u, wanted %u", h->kind, kind);
        return BYTEOR_REGION_KIND;
    }
    if (memchr(h->run_id, 0, sizeof h->run_id) == NULL || memchr(h->boot_id, 0, sizeof h->boot_id) == NULL) {
        snprintf(text, text_bytes, "an id is not terminated");
        return BYTEOR_REGION_CORRUPT;
    }
    return kind == BYTEOR_REGION_RING ? check_ring(h, text, text_bytes) : check_control(h, map->base, text, text_bytes);
}

static int wait_ready(const byteor_map *map, unsigned wait_ms, char *text, size_t text_bytes) {
    const struct timespec pause = {.tv_sec = 0, .tv_nsec = 1000000};
    uint32_t init = byteor_load_acquire32(init_word(map)); /* partner: byteor_region_ready */
    for (unsigned turn = 0; init != BYTEOR_INIT_READY && init <= BYTEOR_INIT_BUSY && turn < wait_ms; turn++) {
        nanosleep(&pause, NULL);
        init = byteor_load_acquire32(init_word(map));
    }
    if (init == BYTEOR_INIT_READY) return 0;
    if (init > BYTEOR_INIT_READY) {
        snprintf(text, text_bytes, "init word %u is none of 0, 1, 2", init);
        return BYTEOR_REGION_CORRUPT;
    }
    snprintf(text, text_bytes, "its creator did not finish it within %u ms", wait_ms);
    return BYTEOR_REGION_UNREADY;
}

/* A region that could lie on huge pages begins at the boundary of one: else the kernel cannot put one under it. */
static void *map_aligned(int fd, size_t bytes, int protection) {
    const size_t huge = (size_t)2 << 20, page = (size_t)BYTEOR_PAGE - 1;
    if (bytes < huge) return mmap(NULL, bytes, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
    size_t whole = (bytes + page) & ~page;
    uint8_t *wide = mmap(NULL, whole + huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (wide == MAP_FAILED) return MAP_FAILED;
    size_t before = (huge - ((uintptr_t)wide & (huge - 1))) & (huge - 1);
    void *base = mmap(wide + before, bytes, protection, MAP_SHARED | MAP_POPULATE | MAP_FIXED, fd, 0);
    if (before) munmap(wide, before);
    if (base == MAP_FAILED)
        munmap(wide + before, whole + huge - before);
    else
        munmap(wide + before + whole, huge - before);
    return base;
}

int byteor_region_open(int fd, uint32_t kind, int writable, unsigned wait_ms, byteor_map *map, char *text, size_t text_bytes) {
    struct stat info;
    if (fstat(fd, &info) != 0) {
        snprintf(text, text_bytes, "%s", strerror(errno));
        return BYTEOR_REGION_IO;
    }
    if (!S_ISREG(info.st_mode) || info.st_size < (off_t)BYTEOR_PAGE) {
        snprintf(text, text_bytes, "the file has %lld bytes, a region has at least %u", (long long)info.st_size, BYTEOR_PAGE);
        return BYTEOR_REGION_TRUNCATED;
    }
    int protection = PROT_READ | (writable ? PROT_WRITE : 0);
    void *base = map_aligned(fd, (size_t)info.st_size, protection);
    if (base == MAP_FAILED) {
        snprintf(text, text_bytes, "%s", strerror(errno));
        return BYTEOR_REGION_IO;
    }
    map->base = base;
    map->bytes = (uint64_t)info.st_size;
    map->watch = byteor_fault_watch(base, map->bytes, fd);
    /* A foreign or torn file has no init word to wait for: look at the mark first. */
    int status = memcmp(base, BYTEOR_MAGIC, 8) == 0 || *init_word(map) == BYTEOR_INIT_BUSY
                     ? wait_ready(map, wait_ms, text, text_bytes) : 0;
    if (status == 0) status = check_header(map, kind, text, text_bytes);
    if (byteor_region_lost(map)) {
        snprintf(text, text_bytes, "a page of it is gone: it was truncated while it was opened, or its filesystem is full");
        status = BYTEOR_REGION_TRUNCATED;
    }
    if (status != 0) byteor_region_unmap(map);
    return status;
}

void byteor_region_unmap(byteor_map *map) {
    byteor_fault_forget(map->watch);
    map->watch = 0;
    if (map->base) munmap(map->base, map->bytes);
    map->base = NULL;
    map->bytes = 0;
}

int byteor_region_lost(const byteor_map *map) { return byteor_fault_lost(map->watch); }

void byteor_ring_view(const byteor_map *map, byteor_ring *ring) {
    const byteor_region_header *h = (const byteor_region_header *)(const void *)map->base;
    ring->base = map->base;
    ring->bytes = map->bytes;
    ring->header = h;
    ring->producer = (byteor_ring_producer *)(void *)(map->base + h->section[0]);
    ring->cells = (byteor_cell *)(void *)(map->base + h->section[1]);
    ring->slots = map->base + h->section[2];
    ring->capacity = h->size_a;
    ring->mask = h->size_a - 1;
    ring->slot_bytes = h->counts[0];
    ring->slot_shift = (h->counts[0] & (h->counts[0] - 1)) ? 0 : (uint32_t)__builtin_ctz(h->counts[0]);
    ring->cell_count = h->counts[1];
    ring->payload_max = h->counts[0] - BYTEOR_SLOT_HEADER_BYTES;
}
