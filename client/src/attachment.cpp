#include "attachment.hpp"

#include <algorithm>
#include <linux/membarrier.h>
#include <new>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <zeropool/lib/hot_path.hpp>
#include <zeropool/lib/segment.hpp>
#include <zeropool/lib/wire.hpp>

#include "async_desk.hpp"
#include "cache_ops.hpp"
#include "daemon_link.hpp"
#include "last_error.hpp"
#include "order.hpp"

namespace zeropool::client {
namespace {

constexpr int kDetachTimeoutMs = 2000;

// All attachments of the process, by index. The lock is in memory that fork wipes.
struct Registry {
  WipedLock unwiped{};  // where there was no memory for the other: then a child may find it closed
  WipedLock* lock = &unwiped;
  Attachment* attachments[kMaxPools] = {};
};

Registry& registry() noexcept {
  static Registry the_registry;
  return the_registry;
}

void* wiped_memory(std::size_t bytes) noexcept {
  std::string why;
  lib::Mapping mapping = lib::map_wiped_on_fork(bytes, why);
  if (!mapping) return nullptr;
  void* address = mapping.data();
  // Kept for the life of the process (A1).
  ::new (static_cast<void*>(&mapping)) lib::Mapping();
  return address;
}

// The registry's lock is made before main(), so that no two threads make it.
__attribute__((constructor)) void make_registry_lock() {
  if (void* memory = wiped_memory(4096); memory != nullptr) {
    registry().lock = static_cast<WipedLock*>(memory);
  }
}

// Ours by address-space-wide barriers, so that an idle thread's caches can be taken (thread_record.hpp T3).
// False: an old kernel, or a filter: then the daemon must leave our caches alone.
bool register_membarrier() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

void thread_exits(OwnThread& thread) noexcept {
  Locked registry_lock(*registry().lock);
  for (std::uint32_t i = 0; i < kMaxPools; ++i) {
    ThreadCache* hot = thread.cache(i);
    if (hot == nullptr) continue;
    ClientCache* cache = client_cache_of(hot);
    Locked lock(cache->attachment->guard->lock);
    end_cache(*cache);
  }
}

// Where something of this process's own lies there already, or the address space is spent, it goes without.
void reserve_former(Attachment& attachment) noexcept {
  for (FormerRange& range : attachment.former) {
    if (range.reserved) continue;
    void* const base = reinterpret_cast<void*>(range.base);
    void* const got =
        ::mmap(base, range.bytes, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    range.reserved = got == base;
    // A kernel that does not know MAP_FIXED_NOREPLACE takes it for a wish.
    if (got != MAP_FAILED && got != base) ::munmap(got, range.bytes);
  }
}

// True: there were some.
bool unreserve_former(Attachment& attachment) noexcept {
  bool any = false;
  for (FormerRange& range : attachment.former) {
    if (!range.reserved) continue;
    ::munmap(reinterpret_cast<void*>(range.base), range.bytes);
    range.reserved = false;
    any = true;
  }
  return any;
}

// In a forked child: the parent's mappings are not here, its descriptors are copies.
void drop_inherited(Attachment& attachment) noexcept {
  attachment.watch.open_all();
  ::new (static_cast<void*>(&attachment.control)) lib::Mapping();
  for (const lib::Mapping& mapping : attachment.data)
    attachment.former.push_back({reinterpret_cast<std::uintptr_t>(mapping.data()), mapping.size()});
  for (lib::Mapping& mapping : attachment.data) ::new (static_cast<void*>(&mapping)) lib::Mapping();
  attachment.data.clear();
  attachment.descriptors.close();
  attachment.caches.clear();
  attachment.overflow = nullptr;
  attachment.exited = CounterSums{};
  attachment.record_pause = RecordPause{};
  attachment.async_memory = lib::Mapping();
  attachment.async_holds.store(0, std::memory_order_relaxed);
  attachment.share_holds.store(0, std::memory_order_relaxed);
}

void take_up(Attachment& attachment, Attached&& attached) noexcept {
  attachment.incarnation = (attachment.incarnation + 1) & 0xff;
  attachment.client_id = attached.client_id;
  attachment.epoch = attached.epoch;
  attachment.client_number = attached.client_number;  // checked: connection.cpp, say_here()
  attachment.users = attached.users;
  attachment.socket_path = std::move(attached.socket_path);
  attachment.descriptors.take(std::move(attached.socket), std::move(attached.doorbell),
                              std::move(attached.wake));
  attachment.control = std::move(attached.control);
  attachment.data = std::move(attached.data);
  attachment.daemon_gone_ns.store(0, std::memory_order_relaxed);
  attachment.view = lib::ControlView(attachment.control.data());
  const lib::ControlHeader& header = attachment.header();
  attachment.daemon_starts.store(header.daemon_starts.load(std::memory_order_acquire),
                                 std::memory_order_relaxed);
  const std::byte* base = attachment.control.data();
  attachment.pool_tag = header.pool_tag;
  attachment.order_capacity = header.order_capacity;
  attachment.placement = header.placement;
  attachment.clears_always = header.scrub.load(std::memory_order_relaxed) == lib::Scrub::kAlways;
  attachment.class_count = header.class_count;
  const auto* arenas = reinterpret_cast<const lib::ArenaEntry*>(base + header.arenas_offset);
  attachment.arenas.assign(arenas, arenas + header.arena_count);
  const auto* cpus = reinterpret_cast<const lib::CpuEntry*>(base + header.cpus_offset);
  attachment.cpus.assign(cpus, cpus + header.cpu_count);
  attachment.rings.clear();
  for (std::uint32_t r = 0; r < header.ring_count; ++r) {
    lib::RingDescriptor& descriptor = attachment.view.descriptor(r);
    RingSetup ring;
    ring.view = attachment.view.ring(descriptor);
    ring.descriptor = &descriptor;
    ring.base = attachment.data[descriptor.arena].data() + descriptor.region_offset;
    ring.class_bytes = descriptor.class_bytes;
    ring.first_cell = descriptor.first_cell;
    ring.cell_capacity = descriptor.cell_capacity;
    ring.arena = descriptor.arena;
    ring.node = attachment.arenas[descriptor.arena].node;
    attachment.rings.push_back(ring);
  }
  attachment.watch.set_up(attachment);
  attachment.most_rings = std::max(attachment.most_rings, header.ring_count);
  const auto* classes = reinterpret_cast<const std::uint64_t*>(base + header.class_bytes_offset);
  std::uint32_t near_class = 0;
  // A child's other threads may be looking at what it has of its parent: written only where it is another one.
  lib::ClassLookup lookup;
  lib::ClassLookup::build({classes, header.class_count}, lookup, near_class);
  if (lookup != attachment.lookup) attachment.lookup = lookup;
}

// Caller holds guard->lock.
int attach_locked(Attachment& attachment) noexcept {
  if (attachment.attached()) return 0;
  drop_inherited(attachment);
  reserve_former(attachment);
  Attached attached = attach(attachment.wish);
  // It may be they that leave no room (RLIMIT_AS).
  if (attached.code == ErrorCode::system && unreserve_former(attachment))
    attached = attach(attachment.wish);
  if (attached.code != ErrorCode::ok) return fail(attached.code, attached.sentence);
  attachment.barriers = register_membarrier();
  take_up(attachment, std::move(attached));
  attachment.wish.fd = -1;  // used up: a forked child goes by the path
  attachment.closing.store(false, std::memory_order_relaxed);
  attachment.guard->client_id.store(attachment.client_id, std::memory_order_release);
  return 0;
}

std::int64_t held_slots(Attachment& attachment) noexcept {
  CounterSums sums = attachment.exited;
  for (ClientCache* cache : attachment.caches) {
    CounterSums done = read_counters(attachment, *cache->hot.record);
    done.subtract(cache->taken_over);
    sums.add(done);
  }
  // A share() raises share_holds before it counts the Buffer as gone; who lowers it holds this lock (share.cpp).
  std::atomic_thread_fence(std::memory_order_acquire);
  return sums.held() + attachment.share_holds.load(std::memory_order_acquire);
}

// Tells the daemon, which takes back what the caches hold; then lets go of the memory. Caller holds both locks.
void detach_locked(Attachment& attachment) noexcept {
  daemon_is_gone(attachment, monotonic_ns());  // connects again where that is possible
  for (ClientCache* cache : attachment.caches) {
    if (cache->thread != nullptr) cache->thread->forget_cache(attachment.index);
    ::munmap(cache, cache->bytes);
  }
  attachment.caches.clear();
  attachment.overflow = nullptr;
  attachment.exited = CounterSums{};
  attachment.record_pause = RecordPause{};
  attachment.async_memory = lib::Mapping();
  attachment.rings.clear();
  attachment.watch.open_all();
  attachment.control = lib::Mapping();
  attachment.data.clear();
  attachment.guard->client_id.store(0, std::memory_order_release);
  const auto message = lib::make_message<lib::DetachMessage>(lib::MessageType::kDetach);
  // Without a connection the daemon finds out by itself: the memory is no longer mapped.
  if (attachment.descriptors.ours() &&
      lib::send_message(attachment.descriptors.socket(), &message, sizeof(message))) {
    lib::receive_message(attachment.descriptors.socket(), kDetachTimeoutMs);
  }
  attachment.descriptors.close();
}

// Until no operation that was under way is: nothing may touch what is unmapped next. Nobody who is busy waits for
// a lock that the caller has (the overflow cache is busy only under the attachment's).
void wait_for_quiet(Attachment& attachment) noexcept {
  // A counter that is seen does not imply that the `busy` before it is.
  ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
  for (ClientCache* cache : attachment.caches) {
    while (cache->hot.record->busy.load(std::memory_order_acquire) != 0) ::sched_yield();
  }
}

// From now on each put takes the slow path, where the last one ends the attachment.
void begin_closing(Attachment& attachment) noexcept {
  attachment.closing.store(true, std::memory_order_seq_cst);
  for (ClientCache* cache : attachment.caches) {
    cache->hot.record->closing.store(1, std::memory_order_seq_cst);
    lib::SharedRingRecord* rings = lib::ControlView::rings_of(*cache->hot.record);
    for (std::uint32_t r = 0; r < attachment.rings.size(); ++r) {
      // After `closing` for all: a daemon that raises the limit and then sees nobody closing is overwritten here (L2).
      rings[r].limit.store(0, std::memory_order_seq_cst);
    }
  }
  wait_for_quiet(attachment);
}

void end_if_unused_locked(Attachment& attachment) noexcept {
  if (attachment.handles != 0 || !attachment.in_use) return;
  if (!attachment.attached()) {
    attachment.in_use = false;  // never used in this process (a forked child)
    return;
  }
  Locked async_lock(attachment.guard->async_lock);  // nobody is at the desk that is unmapped
  Locked lock(attachment.guard->lock);
  if (!attachment.closing.load(std::memory_order_relaxed)) begin_closing(attachment);
  if (held_slots(attachment) > 0 || attachment.async_holds.load(std::memory_order_acquire) > 0) {
    return;
  }
  wait_for_quiet(attachment);
  detach_locked(attachment);
  attachment.in_use = false;
}

bool same_wish(const AttachWish& a, const AttachWish& b) noexcept {
  return a.pool_name == b.pool_name && a.socket == b.socket && a.fd == b.fd &&
         a.direct_io == b.direct_io && a.sample_gets == b.sample_gets;
}

void tell_unmapped(const lib::Mapping& mapping) noexcept {
  if (mapping) ::munmap(mapping.data(), mapping.size());
}

// A forked child has no mapping of the data, but a copy of what a checker thinks of those addresses: whatever is
// mapped there next must not be closed.
void open_in_child() {
  for (Attachment* attachment : registry().attachments) {
    if (attachment == nullptr) continue;
    attachment->watch.open_all();
    if (!attachment->watch.valgrind()) continue;
    // Valgrind does not know MADV_DONTFORK, and looks for leaks there at the child's end. To the kernel it is nothing.
    tell_unmapped(attachment->control);
    for (const lib::Mapping& mapping : attachment->data) tell_unmapped(mapping);
  }
}
void watch_forks() noexcept {
  static const int registered = ::pthread_atfork(nullptr, nullptr, &open_in_child);
  static_cast<void>(registered);
}

// An attachment object to use: one that is open with this wish, else a free one. Caller holds the registry.
Attachment* find_attachment(const AttachWish& wish) noexcept {
  Registry& all = registry();
  for (Attachment* attachment : all.attachments) {
    if (attachment != nullptr && attachment->in_use && same_wish(attachment->wish, wish))
      return attachment;
  }
  for (std::uint32_t i = 0; i < kMaxPools; ++i) {
    if (all.attachments[i] == nullptr) {
      auto* made = new (std::nothrow) Attachment();
      if (made == nullptr) return nullptr;
      made->guard = static_cast<ForkGuard*>(wiped_memory(4096));
      if (made->guard == nullptr) {
        delete made;
        return nullptr;
      }
      made->index = i;
      all.attachments[i] = made;
    }
    if (!all.attachments[i]->in_use) {
      Attachment* free = all.attachments[i];
      free->in_use = true;
      free->handles = 0;
      free->wish = wish;
      unreserve_former(*free);
      free->former.clear();
      free->watch.choose();
      free->sampling.choose(wish.sample_gets);
      if (free->watch.on()) watch_forks();
      return free;
    }
  }
  return nullptr;
}

}  // namespace

int open_attachment(const AttachWish& wish, Attachment*& opened) noexcept {
  on_thread_exit(&thread_exits);
  Attachment* attachment = nullptr;
  {
    Locked registry_lock(*registry().lock);
    attachment = find_attachment(wish);
    if (attachment == nullptr) {
      return fail(ErrorCode::system, "this process has " + std::to_string(kMaxPools) +
                                         " pools open already, or no memory: close one");
    }
    ++attachment->handles;
  }
  const int code = ensure_attached(*attachment);
  if (code != 0) {
    Locked registry_lock(*registry().lock);
    if (--attachment->handles == 0) end_if_unused_locked(*attachment);
    return code;
  }
  if (attachment->closing.load(std::memory_order_relaxed)) {
    // Opened again while Buffers of the former opening were still out: go on with it.
    Locked lock(attachment->guard->lock);
    attachment->closing.store(false, std::memory_order_relaxed);
    for (ClientCache* cache : attachment->caches) {
      cache->hot.record->closing.store(0, std::memory_order_relaxed);
      lib::SharedRingRecord* rings = lib::ControlView::rings_of(*cache->hot.record);
      for (std::uint32_t r = 0; r < attachment->rings.size(); ++r) {
        set_put_limit(*attachment, r, rings[r]);
      }
    }
  }
  opened = attachment;
  return 0;
}

void retain_attachment(Attachment& attachment) noexcept {
  Locked registry_lock(*registry().lock);
  ++attachment.handles;
}

void close_attachment(Attachment& attachment) noexcept {
  Locked registry_lock(*registry().lock);
  if (attachment.handles > 0) --attachment.handles;
  if (attachment.handles == 0) withdraw_async_gets(attachment);
  end_if_unused_locked(attachment);
}

int ensure_attached(Attachment& attachment) noexcept {
  if (attachment.attached()) return 0;
  Locked async_lock(
      attachment.guard->async_lock);  // a child's inherited desk goes (drop_inherited)
  Locked lock(attachment.guard->lock);
  return attach_locked(attachment);
}

bool owns(Attachment& attachment, const void* data) noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(data);
  const auto within = [at](std::uintptr_t base, std::size_t bytes) { return at - base < bytes; };
  const auto looked_up = [&] {
    for (const lib::Mapping& mapping : attachment.data) {
      if (within(reinterpret_cast<std::uintptr_t>(mapping.data()), mapping.size())) return true;
    }
    return std::any_of(attachment.former.begin(), attachment.former.end(),
                       [&](const FormerRange& range) { return within(range.base, range.bytes); });
  };
  if (attachment.attached()) return looked_up();
  Locked lock(attachment.guard->lock);  // another thread may be attaching
  return looked_up();
}

void end_if_unused(Attachment& attachment) noexcept {
  Locked registry_lock(*registry().lock);
  end_if_unused_locked(attachment);
}

}  // namespace zeropool::client
