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
  ZP_WRONG_TYPE = 21,  /* a handle of another type, or of plain bytes; it is as good as before */
  ZP_PENDING = 22,     /* zp_get_async: it waits, and ends in zp_poll() */
  ZP_CANCELLED = 23,   /* by zp_stop(), or its pool was closed */
  ZP_NOT_PENDING = 24, /* zp_cancel, zp_stop: it does not wait (any more) */
  ZP_TOO_MANY_SHARES = 25,
  ZP_TOO_MANY_HOLDERS = 26, /* of one shared buffer */
  ZP_STILL_SHARED = 27,     /* zp_unshare: others have it, or a handle of it is out */
  ZP_DRAINING = 28 /* zp_open: the pool is taken out of service (zeropoolctl drain); try later */
};

/* An opened pool. Any thread may use it. */
typedef struct zp_pool zp_pool;

/* A held buffer; empty when data is NULL. Only data and size are for reading, the rest is the library's. */
typedef struct zp_buffer {
  void* data;    /* the first byte; NULL: empty */
  zp_pool* pool; /* the library's */
  uint64_t word; /* the library's */
  uint32_t slot; /* the library's */
  uint32_t size; /* bytes asked for; zp_capacity() tells what there is */
} zp_buffer;

/* Names a buffer on its way to another process. Plain bytes: send them by any means. */
typedef struct zp_handle {
  uint64_t word[2]; /* opaque; the same in every process of the machine */
} zp_handle;

/* How to attach; NULL in zp_open() is all defaults. */
typedef struct zp_open_options {
  size_t struct_bytes;     /* sizeof(zp_open_options) */
  const char* socket;      /* NULL: $ZEROPOOL_SOCKET, else the user's, else the system's */
  int64_t timeout_ns;      /* of the attach; 0: 5 s */
  int fd;                  /* a connected socket from zp_open_fd(), or -1 */
  const char* client_name; /* shown to operators; NULL: the program's name */
  uint32_t flags;          /* ZP_OPEN_DIRECT_IO, or 0 */
  /* One get in so many, on average, is written down with its time and stack while it is held, for `zeropoolctl holders`; its
   * gets are slower for it. 1: each. 0: as $ZEROPOOL_SAMPLE_STACKS says, else none. */
  uint32_t sample_gets;
} zp_open_options;

/* Flags of zp_open(). */
enum {
  /* The kernel may write into buffers of this process after its death: io_uring (registered buffers or O_DIRECT), AIO,
   * RDMA, vmsplice. What it holds when it dies gets new pages before anybody else gets it. Put or release a buffer only
   * when the I/O into it has ended. */
  ZP_OPEN_DIRECT_IO = 1
};

/* Counters of one process in one pool. */
typedef struct zp_stats_data {
  uint64_t gets;               /* tls_hits + shared_hits + allocations + failures */
  uint64_t tls_hits;           /* served by the calling thread's own magazines */
  uint64_t shared_hits;        /* served by a magazine claimed from the ring */
  uint64_t allocations;        /* served by zeropoold */
  uint64_t failures;           /* gets that ended without a buffer */
  uint64_t puts;               /* buffers given back */
  uint64_t contention_events;  /* a magazine that another thread was faster to claim */
  uint64_t ring_claims;        /* magazines claimed from rings */
  uint64_t remote_gets;        /* buffers of another node than the thread's */
  uint64_t released;           /* hand-offs begun, buffers shared */
  uint64_t adopted;            /* hand-offs ended, shared buffers taken back by their last holder */
  uint64_t double_puts;        /* refused: put twice, or not held */
  uint64_t stale_handles;      /* refused: adopted already, expired, or never a handle */
  uint64_t writes_after_put;   /* seen at the next get, with ZEROPOOL_DEBUG=poison */
  uint64_t writes_beyond_size; /* seen at put or release, with ZEROPOOL_DEBUG=guard */
} zp_stats_data;

/* Opens a pool by name (NULL or "": the daemon's only one). Opening one again shares the attachment, if socket, fd,
 * flags and sample_gets are the same. */
int zp_open(const char* name, const zp_open_options* options, zp_pool** pool);
/* Connects to a daemon now, for a zp_open() later (after chroot or setuid). -1 on failure. */
int zp_open_fd(const char* socket);
/* Ends one zp_open(). The attachment ends with the last one and the last buffer. Gets that wait (zp_get_async) are
 * withdrawn with the last one: each ends with ZP_CANCELLED in a zp_poll(), which may still be called, or by zp_cancel(). */
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
/* Gives back and empties all of them; faster than one by one. Empty ones are fine. */
void zp_put_batch(zp_buffer* buffers, size_t count);

/*
 * Gets that wait without a thread (docs/async.md). All of these may be called from any thread and from within `done`.
 *
 * The caller's memory for one get that waits. Zero it, set `done` and `context`; leave it where it is, with the places for
 * sizes and buffers, until `done` was called or zp_cancel() has returned ZP_OK. Then it can be used again.
 */
typedef struct zp_async_get {
  /* Called once, by a zp_poll(): ZP_OK and the buffers, or why not (zp_last_error() has the sentence meanwhile). The
   * memory of the op is the caller's again, and no lock is held. */
  void (*done)(void* context, int code, zp_buffer* buffers);
  void* context;     /* the caller's, for `done` */
  uint64_t word[20]; /* the library's */
} zp_async_get;
/* A buffer at once (ZP_OK), or ZP_PENDING: then `done` is called when zeropoold has granted it, refused it, or timeout_ns
 * have passed (-1: the pool's wait.timeout). Other codes: it failed; `done` is not called. */
int zp_get_async(zp_pool* pool, size_t bytes, int64_t timeout_ns, zp_async_get* op,
                 zp_buffer* buffer);
/* The same for one buffer of each size: all or none. */
int zp_get_batch_async(zp_pool* pool, const size_t* bytes, size_t count, int64_t timeout_ns,
                       zp_async_get* op, zp_buffer* buffers);
/* ZP_OK: it waits no more, `done` will not be called, and what was granted to it has gone back. ZP_NOT_PENDING: it does not
 * wait; `done` was called, or another thread is just calling it. ZP_WRONG_PROCESS: inherited by fork; nothing is touched. */
int zp_cancel(zp_async_get* op);
/* Has zp_poll() call `done`, with ZP_CANCELLED unless something else was faster. Of an op that does not wait yet
 * (ZP_NOT_PENDING) the next zp_get_async() that would wait returns ZP_CANCELLED. */
int zp_stop(zp_async_get* op);
/* Calls `done` of up to `max` gets that have ended, on this thread; returns of how many. Several threads may poll. */
size_t zp_poll(zp_pool* pool, size_t max);
/* A descriptor that is readable when zp_poll() has something to do, for poll, epoll, io_uring and the like. The library's:
 * only wait for it. It lasts as long as the pool is open in this process; a forked child has another. -1 on failure. */
int zp_event_fd(zp_pool* pool);

/* Gives the buffer up for another process; it is empty afterwards. receiver: a zp_client_id() whose death takes
 * the buffer back, or 0. */
int zp_release(zp_buffer* buffer, uint32_t receiver, zp_handle* handle);
/* Exactly one adopter of a handle wins; the releaser may be it. */
int zp_adopt(zp_pool* pool, zp_handle handle,
             zp_buffer* buffer); /* ZP_WRONG_TYPE: see zp_adopt_as */

/* What a buffer holds, as both sides of a hand-off know it. */
typedef struct zp_type {
  uint32_t tag;       /* zp_type_tag() */
  uint32_t alignment; /* bytes, a power of two */
  uint64_t bytes;     /* its size */
} zp_type;
/* A tag, never 0, of a type's name and version: the same in every process and language. Two names have the same one by
 * chance in one of 2^21. */
uint32_t zp_type_tag(const char* name, uint32_t version);
/* zp_release() of a buffer whose bytes are a `type`; its size must be that, its address so aligned. Only zp_adopt_as()
 * of the same type adopts it. */
int zp_release_as(zp_buffer* buffer, uint32_t receiver, const zp_type* type, zp_handle* handle);
/* ZP_WRONG_TYPE: the handle is of another tag or size, or of plain bytes; the right adopter can still have it. */
int zp_adopt_as(zp_pool* pool, zp_handle handle, const zp_type* type, zp_buffer* buffer);

/* A hold of a shared buffer: read-only, held by several processes at once; the last to put it gives the buffer back.
 * Empty when data is NULL. Only data and size are for reading, the rest is the library's. */
typedef struct zp_shared {
  const void* data; /* the first byte; NULL: empty */
  zp_pool* pool;    /* the library's */
  uint64_t word;    /* the library's */
  uint32_t slot;    /* the library's */
  uint32_t size;    /* bytes */
  uint32_t cell;    /* the library's */
  uint32_t hold;    /* the library's */
} zp_shared;
/* Makes a held buffer a shared one, with one hold; the buffer is empty afterwards. On failure it is unchanged. */
int zp_share(zp_buffer* buffer, zp_shared* shared);
/* A handle that is good for so many zp_adopt_shared(), by whatever processes. All handles of one shared buffer are
 * alike: what counts is how many adoptions they are good for together. */
int zp_share_handle(const zp_shared* shared, uint32_t adoptions, zp_handle* handle);
/* A hold of this process, by a handle. ZP_STALE_HANDLE: its adoptions are used up, or it expired. ZP_TOO_MANY_HOLDERS: the
 * handle stays good. */
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
  zp_pool* pool; /* NULL: empty */
  uint64_t word; /* the library's */
} zp_pin_token;
/* Keeps the pages of a held buffer where they are until zp_unpin() or the end of this process, whoever gets the buffer
 * meanwhile: zeropoold neither releases nor replaces them. For I/O that is told addresses in advance. */
int zp_pin(const zp_buffer* buffer, zp_pin_token* token);
/* Empties the token. An empty one is fine. */
void zp_unpin(zp_pin_token* token);

/* Another size within the capacity. On failure nothing is changed. What lies beyond the size is not to be touched:
 * AddressSanitizer, Valgrind and ZEROPOOL_DEBUG=guard take the largest size that a buffer has had for its end. */
int zp_resize(zp_buffer* buffer, size_t bytes);
/* Bytes that there are, at least its size: its class. 0: empty. */
size_t zp_capacity(const zp_buffer* buffer);
uint32_t zp_node(const zp_buffer* buffer); /* NUMA node of its memory */
/* 1: this process has the buffer by fork only. It is the parent's; its memory is not mapped here. */
int zp_inherited(const zp_buffer* buffer);
/* 1: the address lies in the pool's memory, as this process has it mapped, or as the process did that it was forked
 * from (then it is not to be touched; zp_put_ptr() of it does nothing). */
int zp_owns(zp_pool* pool, const void* data);
/* This client's number, for zp_release(); 0: it cannot be attached. */
uint32_t zp_client_id(zp_pool* pool);
/* As it was opened; of NULL or "": the name of the one that the daemon has. Valid until zp_close(). */
const char* zp_pool_name(const zp_pool* pool);
/* What this process did in this pool. */
int zp_stats(zp_pool* pool, zp_stats_data* stats);

/* The name of a code; static. */
const char* zp_strerror(int code);
/* The calling thread's last failure; valid until its next one. */
const char* zp_last_error(void);
/* Its code; ZP_OK before the first. */
int zp_last_error_code(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
