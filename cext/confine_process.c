/* confine_process.c: see confine.h. Landlock's constants stand here since older headers lack the newer ones
 * (Documentation/userspace-api/landlock.rst of the kernel). */
#include "confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define CONFINE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define CONFINE_ARCH AUDIT_ARCH_AARCH64
#endif

/* --- Landlock ----------------------------------------------------------------------------------*/

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REMOVE_DIR (UINT64_C(1) << 4)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_DIR (UINT64_C(1) << 7)
#define FS_MAKE_REG (UINT64_C(1) << 8)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_FILE_ONLY (FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)

typedef struct landlock_ruleset {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
} landlock_ruleset;

typedef struct __attribute__((packed)) landlock_beneath {
    uint64_t allowed_access;
    int32_t parent_fd;
} landlock_beneath;

uint32_t byteor_landlock_abi(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
    return version > 0 ? (uint32_t)version : 0;
}

/* Rights of the file system that each ABI can handle: up to make-symlink, refer, truncate, ioctl.
 */
static uint64_t landlock_known(uint32_t abi) {
    unsigned bits = abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13;
    return (UINT64_C(1) << bits) - 1;
}

static int landlock_allow(int ruleset, int descriptor, uint64_t access) {
    struct stat found;
    if (fstat(descriptor, &found) != 0) {
        return errno;
    }
    landlock_beneath rule = {S_ISDIR(found.st_mode) ? access : access & FS_FILE_ONLY, descriptor};
    return syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 0) == 0 ? 0 : errno;
}

static int landlock_fill(int ruleset, const byteor_confinement *wanted, uint64_t known) {
    uint64_t reads = FS_READ_FILE | FS_READ_DIR;
    uint64_t writes = (reads | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR |
                       FS_MAKE_REG | FS_TRUNCATE) &
                      known;
    int status = 0;
    for (size_t i = 0; i < wanted->readable_count && status == 0; i++) {
        status = landlock_allow(ruleset, wanted->readable[i], reads);
    }
    for (size_t i = 0; i < wanted->writable_count && status == 0; i++) {
        status = landlock_allow(ruleset, wanted->writable[i], writes);
    }
    return status;
}

static int landlock_apply(const byteor_confinement *wanted, uint32_t abi) {
    landlock_ruleset rules = {landlock_known(abi), abi >= 4 ? 3 : 0, abi >= 6 ? 3 : 0};
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (ruleset < 0) {
        return errno;
    }
    int status = landlock_fill(ruleset, wanted, rules.handled_access_fs);
    if (status == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
        status = errno;
    }
    (void)close(ruleset);
    return status;
}

/* --- seccomp ----------------------------------------------------------------------------------- */

#ifdef CONFINE_ARCH
/* Calls that act on others, on the kernel, or around the other rules. Old calls that only x86 has
 * stand in a list of their own. */
static const int denied[] = {
    /* sockets: none is made, none is connected; what is open may be read and written */
    SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen, SYS_sendto, SYS_sendmsg,
    SYS_sendmmsg,
    /* programs, other processes */
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_tkill,
    SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_pidfd_open, SYS_pidfd_send_signal,
    SYS_pidfd_getfd, SYS_process_madvise, SYS_setpgid, SYS_setsid, SYS_kcmp, SYS_migrate_pages,
    SYS_move_pages,
    /* around seccomp and Landlock */
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_open_by_handle_at,
    SYS_name_to_handle_at, SYS_userfaultfd, SYS_bpf, SYS_perf_event_open, SYS_fanotify_init,
    /* attributes of files, which Landlock does not cover */
    SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_setxattr, SYS_lsetxattr,
    SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, SYS_utimensat,
    SYS_mknodat, SYS_quotactl, SYS_flock,
    /* objects that others see: queues, System V memory, keys */
    SYS_mq_open, SYS_mq_unlink, SYS_msgget, SYS_msgsnd, SYS_semget, SYS_semop, SYS_shmget,
    SYS_shmat, SYS_keyctl, SYS_add_key, SYS_request_key,
    /* the system */
    SYS_mount, SYS_umount2, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsmount, SYS_pivot_root,
    SYS_chroot, SYS_setns, SYS_unshare, SYS_init_module, SYS_finit_module, SYS_delete_module,
    SYS_kexec_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_syslog, SYS_sethostname,
    SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex,
    SYS_personality, SYS_lookup_dcookie, SYS_vhangup, SYS_nfsservctl,
#if defined(__x86_64__)
    SYS_fork, SYS_vfork, SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat,
    SYS_mknod, SYS_iopl, SYS_ioperm, SYS_uselib, SYS_kexec_file_load, SYS_modify_ldt,
#endif
};

/* Calls that write, for kernels without Landlock: then nothing is written at all. */
static const int writing[] = {
    SYS_mkdirat, SYS_unlinkat, SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_truncate,
    SYS_renameat,
#if defined(__x86_64__)
    SYS_creat, SYS_mkdir, SYS_rmdir, SYS_unlink, SYS_rename, SYS_link, SYS_symlink,
#endif
};

#define FILTER_MAX 512

typedef struct filter_text {
    struct sock_filter code[FILTER_MAX];
    unsigned short used;
} filter_text;

static void filter_put(filter_text *filter, uint16_t code, uint32_t k, uint8_t yes, uint8_t no) {
    if (filter->used < FILTER_MAX) {
        struct sock_filter step = {code, yes, no, k};
        filter->code[filter->used++] = step;
    }
}

#define NUMBER_AT ((uint32_t)offsetof(struct seccomp_data, nr))
#define ARCH_AT ((uint32_t)offsetof(struct seccomp_data, arch))
#define ARGUMENT_AT(i) ((uint32_t)(offsetof(struct seccomp_data, args) + 8u * (i)))
#define EQUAL (BPF_JMP | BPF_JEQ | BPF_K)
#define ANY_BIT (BPF_JMP | BPF_JSET | BPF_K)

static void filter_load(filter_text *filter, uint32_t offset) {
    filter_put(filter, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

static void filter_answer(filter_text *filter, int error) {
    uint32_t answer = error ? SECCOMP_RET_ERRNO | (uint32_t)error : SECCOMP_RET_ALLOW;
    filter_put(filter, BPF_RET | BPF_K, answer, 0, 0);
}

static void filter_deny(filter_text *filter, int number, int error) {
    filter_put(filter, EQUAL, (uint32_t)number, 0, 1);
    filter_answer(filter, error);
}

/* `number` only when the low half of argument `i` meets the test `code` with `k`. */
static void filter_only(filter_text *filter, int number, uint32_t i, uint16_t code, uint32_t k) {
    filter_put(filter, EQUAL, (uint32_t)number, 0, 4);
    filter_load(filter, ARGUMENT_AT(i));
    filter_put(filter, code, k, 1, 0);
    filter_answer(filter, EPERM);
    filter_answer(filter, 0);
}

static void filter_not(filter_text *filter, int number, uint32_t i, uint32_t bits) {
    filter_put(filter, EQUAL, (uint32_t)number, 0, 4);
    filter_load(filter, ARGUMENT_AT(i));
    filter_put(filter, ANY_BIT, bits, 0, 1);
    filter_answer(filter, EPERM);
    filter_answer(filter, 0);
}

static void filter_build(filter_text *filter, int landlocked) {
    uint32_t thread = 0x00010000u; /* CLONE_THREAD */
    uint32_t writes = 1u | 2u | 0100u | 01000u | 02000u; /* O_WRONLY O_RDWR O_CREAT O_TRUNC APPEND */
    filter_load(filter, ARCH_AT);
    filter_put(filter, EQUAL, CONFINE_ARCH, 1, 0);
    filter_put(filter, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
    filter_load(filter, NUMBER_AT);
    filter_put(filter, BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1); /* the x32 ABI */
    filter_answer(filter, EPERM);
    filter_deny(filter, SYS_clone3, ENOSYS); /* its flags lie in memory: libc then uses clone */
    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++) {
        filter_deny(filter, denied[i], EPERM);
    }
    for (size_t i = 0; !landlocked && i < sizeof writing / sizeof writing[0]; i++) {
        filter_deny(filter, writing[i], EPERM);
    }
    if (!landlocked) {
        filter_deny(filter, SYS_openat2, ENOSYS);
        filter_not(filter, SYS_openat, 2, writes);
#if defined(__x86_64__)
        filter_not(filter, SYS_open, 1, writes);
#endif
    }
    filter_only(filter, SYS_clone, 0, ANY_BIT, thread);
    filter_only(filter, SYS_kill, 0, EQUAL, (uint32_t)getpid());
    filter_only(filter, SYS_tgkill, 0, EQUAL, (uint32_t)getpid());
    filter_only(filter, SYS_prlimit64, 0, EQUAL, 0);
    filter_answer(filter, 0);
}

int byteor_has_seccomp(void) {
    uint32_t action = SECCOMP_RET_ERRNO;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static int seccomp_apply(int landlocked) {
    filter_text filter = {.used = 0};
    filter_build(&filter, landlocked);
    if (filter.used >= FILTER_MAX) {
        return E2BIG;
    }
    struct sock_fprog program = {filter.used, filter.code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0
               ? 0
               : errno;
}
#else
int byteor_has_seccomp(void) {
    return 0;
}

static int seccomp_apply(int landlocked) {
    (void)landlocked;
    return ENOSYS;
}
#endif

/* --- the whole ----------------------------------------------------------------------------------*/

static int drop_capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    memset(none, 0, sizeof none);
    for (int capability = 0; capability < 64; capability++) {
        (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0); /* fails without CAP_SETPCAP: no loss */
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &header, none) == 0 ? 0 : errno;
}

int byteor_confine(const byteor_confinement *wanted, const char **step) {
    uint32_t abi = byteor_landlock_abi();
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    (void)setrlimit(RLIMIT_MEMLOCK, &all); /* else a locked worker could not grow without its right */
    *step = "no_new_privs";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return errno;
    }
    *step = "landlock";
    int status = abi > 0 ? landlock_apply(wanted, abi) : 0;
    if (status != 0) {
        return status;
    }
    *step = "capabilities";
    status = drop_capabilities();
    if (status != 0) {
        return status;
    }
    *step = "seccomp";
    return seccomp_apply(abi > 0);
}
