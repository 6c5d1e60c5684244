#ifndef ZEROPOOL_H
#define ZEROPOOL_H
/*
 * libzeropool, the C surface: buffers from pools that zeropoold keeps in shared memory.
 *
 * This is the stable ABI: plain structs, int codes (0 is success), symbols versioned. Every function may be
 * called from any thread; a zp_buffer belongs to one thread at a time. Not for signal handlers.
 * After a failure zp_last_error() has the sentence for a person: what failed, which limit, what to do.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Error codes. zp_strerror() names them. */
enum {
  ZP_OK = 0,
  ZP_BUDGET_EXHAUSTED =
      1,                 /* zeropoold may not commit more, and nobody gave a buffer back in time */
  ZP_QUOTA_EXCEEDED = 2, /* this client has all that its pool grants one client */
  ZP_TOO_LARGE = 3,      /* larger than the pool's largest class */
  ZP_INVALID_SIZE = 4,   /* 0 bytes */
  ZP_TIMED_OUT = 5,
  ZP_WOULD_WAIT = 6,   /* zp_try_get: nothing at hand */
  ZP_STALE_HANDLE = 7, /* adopted already, taken back, expired, or never a handle */
  ZP_NOT_HELD = 8,     /* put twice, or not this process's buffer */
  ZP_NO_DAEMON = 9,
  ZP_ACCESS_DENIED = 10,
  ZP_VERSION_MISMATCH = 11,
  ZP_NO_SUCH_POOL = 12,
  ZP_TOO_MANY_CLIENTS = 13,
  ZP_TOO_MANY_ORDERS = 14,
  ZP_PROTOCOL = 15,
  ZP_SYSTEM = 16,
  ZP_INVALID_ARGUMENT = 17,
  ZP_STOPPING = 18,      /* zeropoold is stopping; buffers that are held stay valid */
  ZP_WRONG_PROCESS = 19, /* a buffer inherited by fork: the parent's, inert here */
  ZP_TOO_MANY_PINS = 20,
  ZP_TOO_MANY_SHARES = 21,
  ZP_TOO_MANY_HOLDERS = 22, /* of one shared buffer */
  ZP_STILL_SHARED = 23      /* zp_unshare: others have it, or a handle of it is out */
};

typedef struct zp_pool zp_pool;

/* A held buffer; empty when data is NULL. Only data and size are for reading, the rest is the library's. */
typedef struct zp_buffer {
  void* data;
  zp_pool* pool;
  uint64_t word;
  uint32_t slot;
  uint32_t size; /* bytes asked for; zp_capacity() tells what there is */
} zp_buffer;

/* Names a buffer on its way to another process. Plain bytes: send them by any means. */
typedef struct zp_handle {
  uint64_t word[2];
} zp_handle;

typedef struct zp_open_options {
  size_t struct_bytes;     /* sizeof(zp_open_options) */
  const char* socket;      /* NULL: $ZEROPOOL_SOCKET, else the user's, else the system's */
  int64_t timeout_ns;      /* of the attach; 0: 5 s */
  int fd;                  /* a connected socket from zp_open_fd(), or -1 */
  const char* client_name; /* shown to operators; NULL: the program's name */
  uint32_t flags;          /* ZP_OPEN_DIRECT_IO, or 0 */
  uint32_t reserved;       /* 0 */
} zp_open_options;

/* Flags of zp_open(). */
enum {
  /* The kernel may write into buffers of this process after its death: io_uring (registered buffers or O_DIRECT), AIO,
   * RDMA, vmsplice. What it holds when it dies gets new pages before anybody else gets it. Put or release a buffer only
   * when the I/O into it has ended. */
  ZP_OPEN_DIRECT_IO = 1
};

typedef struct zp_stats_data {
  uint64_t gets;        /* tls_hits + shared_hits + allocations + failures */
  uint64_t tls_hits;    /* served by the calling thread's own magazines */
  uint64_t shared_hits; /* served by a magazine claimed from the ring */
  uint64_t allocations; /* served by zeropoold */
  uint64_t failures;
  uint64_t puts;
  uint64_t contention_events;
  uint64_t ring_claims;
  uint64_t remote_gets;
  uint64_t released; /* hand-offs begun, buffers shared */
  uint64_t adopted;  /* hand-offs ended, shared buffers taken back by their last holder */
  uint64_t double_puts;
  uint64_t stale_handles;
  uint64_t writes_after_put;   /* seen at the next get, with ZEROPOOL_DEBUG=poison */
  uint64_t writes_beyond_size; /* seen at put or release, with ZEROPOOL_DEBUG=guard */
} zp_stats_data;

/* Opens a pool by name (NULL or "": the daemon's only one). Opening one again shares the attachment, if socket, fd and
 * flags are the same. */
int zp_open(const char* name, const zp_open_options* options, zp_pool** pool);
/* Connects to a daemon now, for a zp_open() later (after chroot or setuid). -1 on failure. */
int zp_open_fd(const char* socket);
/* Ends one zp_open(). The attachment ends with the last one and the last buffer. */
void zp_close(zp_pool* pool);

/* A buffer of at least `bytes`. Waits up to the pool's wait.timeout. */
int zp_get(zp_pool* pool, size_t bytes, zp_buffer* buffer);
/* Waits at most timeout_ns (0: not at all, but it may place an order). */
int zp_get_for(zp_pool* pool, size_t bytes, int64_t timeout_ns, zp_buffer* buffer);
/* Never waits and makes no system call: cache and ring only. */
int zp_try_get(zp_pool* pool, size_t bytes, zp_buffer* buffer);
/* Gives back and empties the buffer. An empty one is fine. */
int zp_put(zp_buffer* buffer);
/* The same by address, anywhere inside the buffer. */
int zp_put_ptr(zp_pool* pool, const void* data);

/* One buffer for each size: all or none. */
int zp_get_batch(zp_pool* pool, const size_t* bytes, size_t count, zp_buffer* buffers);
/* Up to `count` buffers of one size; returns how many. Waits only while it has none; fewer than count and none
 * at all leave the reason in zp_last_error_code(). */
size_t zp_get_many(zp_pool* pool, size_t bytes, size_t count, zp_buffer* buffers);
void zp_put_batch(zp_buffer* buffers, size_t count);

/* Gives the buffer up for another process; it is empty afterwards. receiver: a zp_client_id() whose death takes
 * the buffer back, or 0. */
int zp_release(zp_buffer* buffer, uint32_t receiver, zp_handle* handle);
/* Exactly one adopter of a handle wins; the releaser may be it. */
int zp_adopt(zp_pool* pool, zp_handle handle, zp_buffer* buffer);

/* A hold of a shared buffer: read-only, held by several processes at once; the last to put it gives the buffer back.
 * Empty when data is NULL. Only data and size are for reading, the rest is the library's. */
typedef struct zp_shared {
  const void* data;
  zp_pool* pool;
  uint64_t word;
  uint32_t slot;
  uint32_t size;
  uint32_t cell;
  uint32_t hold;
} zp_shared;
/* Makes a held buffer a shared one, with one hold; the buffer is empty afterwards. On failure it is unchanged. */
int zp_share(zp_buffer* buffer, zp_shared* shared);
/* A handle that is good for so many zp_adopt_shared(), by whatever processes. All handles of one shared buffer are
 * alike: what counts is how many adoptions they are good for together. */
int zp_share_handle(const zp_shared* shared, uint32_t adoptions, zp_handle* handle);
int zp_adopt_shared(zp_pool* pool, zp_handle handle, zp_shared* shared);
/* Another hold of this process. */
int zp_shared_copy(const zp_shared* shared, zp_shared* copy);
/* The buffer itself again, to be written, if this is its only hold and no handle of it is out. On failure nothing is
 * changed. */
int zp_unshare(zp_shared* shared, zp_buffer* buffer);
/* Gives the hold up and empties it. An empty one is fine. */
int zp_shared_put(zp_shared* shared);

/* A pin; empty when pool is NULL. The rest is the library's. */
typedef struct zp_pin_token {
  zp_pool* pool;
  uint64_t word;
} zp_pin_token;
/* Keeps the pages of a held buffer where they are until zp_unpin() or the end of this process, whoever gets the buffer
 * meanwhile: zeropoold neither releases nor replaces them. For I/O that is told addresses in advance. */
int zp_pin(const zp_buffer* buffer, zp_pin_token* token);
/* Empties the token. An empty one is fine. */
void zp_unpin(zp_pin_token* token);

/* Another size within the capacity. On failure nothing is changed. What lies beyond the size is not to be touched:
 * AddressSanitizer, Valgrind and ZEROPOOL_DEBUG=guard take the largest size that a buffer has had for its end. */
int zp_resize(zp_buffer* buffer, size_t bytes);
size_t zp_capacity(const zp_buffer* buffer);
uint32_t zp_node(const zp_buffer* buffer); /* NUMA node of its memory */
uint32_t zp_client_id(zp_pool* pool);
const char* zp_pool_name(const zp_pool* pool);
/* What this process did in this pool. */
int zp_stats(zp_pool* pool, zp_stats_data* stats);

/* The name of a code; static. */
const char* zp_strerror(int code);
/* The calling thread's last failure; valid until its next one. */
const char* zp_last_error(void);
int zp_last_error_code(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
