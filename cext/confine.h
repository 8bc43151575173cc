/* confine.h: takes from the calling process, for good, what code without effects does not need.
 *
 * Capabilities, new privileges, the file system but for given paths (Landlock, where the kernel has
 * it), and system calls that act on others (seccomp). To be called while the process has one thread
 * and before code that is not trusted is loaded: threads made later inherit it all.
 */
#ifndef BYTEOR_CONFINE_H
#define BYTEOR_CONFINE_H

#include <stddef.h>
#include <stdint.h>

/* Version of the kernel's Landlock ABI; 0: there is none. */
uint32_t byteor_landlock_abi(void);

/* Whether the kernel takes seccomp filters that answer with an error. */
int byteor_has_seccomp(void);

typedef struct byteor_confinement {
    const int *readable; /* descriptors (O_PATH) of files and directories that may be read */
    size_t readable_count;
    const int *writable; /* directories that may also be written in, and files such as /dev/null */
    size_t writable_count;
} byteor_confinement;

/* 0, or an errno with `step` naming what failed: the process is then confined in part and must end.
 */
int byteor_confine(const byteor_confinement *wanted, const char **step);

#endif
