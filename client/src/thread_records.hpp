#pragma once
// A pool's thread records: taking one, and asking zeropoold for more.
//
// Thread safety: any thread of any process. The attachment's lock, which its callers hold, keeps threads of one process apart.
// Invariants:
//   T1  A record is its taker's from the CAS of its owner word to the store that frees it.
//   T2  The caches of threads have at most limits.threads records; as many as there may be clients are left for the
//       caches that further threads of a process share. Who finds that they took one too many frees it unused. Whose one
//       is, its `tid` says: 0 of a shared cache. A thread writes its own before it counts; until then others may count it
//       as shared, but it does not keep what is one too many. So shared caches cost threads nothing.
//   T3  A thread leaves the last free record to the cache that its process shares, while there is none.
//   T4  Nobody waits for a record with a lock held, nor longer than allowed; who waits asks again and again, as a daemon
//       may be followed by the next one.
//   T5  A process that has its shared cache, and was refused a record, does not look again before its pause is over
//       (record_pause.hpp): its further threads neither look at all records nor ring at each operation.
// Crash safety: a record that its taker was killed with is freed by the reclaim, by its owner word. Whoever waits owns nothing.

#include <cstdint>

#include <zeropool/lib/owner_word.hpp>

#include "attachment.hpp"

namespace zeropool::client {

// Whether a thread is to look for a record of its own, though its process was refused one a moment ago. Caller holds the
// attachment's lock.
bool may_take_record(Attachment& attachment) noexcept;

// A free record, now `me`'s; lib::kNone: there is none now, and zeropoold was asked for more where there can be more.
// Caller holds the attachment's lock.
std::uint32_t take_thread_record(Attachment& attachment, lib::OwnerWord& me) noexcept;
std::uint32_t take_shared_record(Attachment& attachment, lib::OwnerWord& me) noexcept;

// After another look that found none: pauses, at most until then, for zeropoold to publish more or others to end.
// 0: look again. Else the error, and its sentence: nobody makes more, or the time is over.
int wait_for_records(Attachment& attachment, std::int64_t deadline_ns) noexcept;
// What wait_for_records() says when the time is over.
int no_record(Attachment& attachment) noexcept;

}  // namespace zeropool::client
