// The C surface: checks of arguments, and the way to the parts that do the work.

#include <bit>
#include <cerrno>
#include <cstddef>

#include <zeropool.h>
#include <zeropool/lib/hand_off.hpp>
#include <zeropool/lib/hot_path.hpp>
#include <zeropool/lib/socket_path.hpp>
#include <zeropool/lib/tracepoint.hpp>
#include <zeropool/type_tag.hpp>

#include "access.hpp"
#include "adopt.hpp"
#include "attachment.hpp"
#include "batch.hpp"
#include "get.hpp"
#include "put.hpp"
#include "quota.hpp"
#include "scrub.hpp"
#include "size_text.hpp"

namespace {

using namespace zeropool::client;
namespace detail = zeropool::v1::detail;

int no_pool() noexcept { return fail(ErrorCode::invalid_argument, "the pool is not open"); }

constexpr std::uint32_t kNoteTagMask = (1U << zeropool::lib::TransitNote::kTagBits) - 1;

zp_pool* c_pool(Attachment& attachment) noexcept {
  return reinterpret_cast<zp_pool*>(static_cast<detail::PoolState*>(&attachment));
}

int get_within(zp_pool* pool, std::size_t bytes, std::int64_t timeout_ns,
               zp_buffer* buffer) noexcept {
  if (buffer == nullptr)
    return fail(ErrorCode::invalid_argument, "zp_get needs a place for the buffer");
  *buffer = zp_buffer{};
  if (pool == nullptr) return no_pool();
  Attachment& attachment = attachment_of(pool);
  if (take_hit(attachment, bytes, buffer)) return 0;
  Taken taken;
  const int code = get_one(attachment, bytes, timeout_ns, kAnyNode, taken);
  if (code != 0) return code;
  const RingSetup& ring = attachment.rings[taken.ring];
  *buffer = zp_buffer{ring.base + taken.slot * ring.class_bytes, pool,
                      detail::make_buffer_word(taken.mark, taken.ring, attachment.incarnation),
                      taken.slot, static_cast<std::uint32_t>(bytes)};
  hand_out(attachment, *buffer);
  return 0;
}

// Tag 0: plain bytes.
int release_tagged(zp_buffer* buffer, std::uint32_t receiver, std::uint32_t type_tag,
                   zp_handle* handle) noexcept {
  if (buffer == nullptr || handle == nullptr || buffer->data == nullptr) {
    return fail(ErrorCode::invalid_argument,
                "zp_release needs a held buffer and a place for the handle");
  }
  *handle = zp_handle{};
  Attachment& attachment = attachment_of(buffer->pool);
  if (receiver > zeropool::lib::kMaxClientId) {
    return fail(ErrorCode::invalid_argument, "the receiver is a zp_client_id(), or 0");
  }
  if (const int code = check_incarnation(attachment, buffer->word); code != 0) return code;
  const std::uint32_t ring = detail::ring_of(buffer->word);
  {
    Access access(attachment);
    if (access.code() != 0) return access.code();
    const zeropool::lib::SharedRingView& view = attachment.rings[ring].view;
    const zeropool::lib::Mark held = mark_of(attachment, buffer->word);
    const auto note =
        zeropool::lib::TransitNote::make(buffer->size, receiver, type_tag & kNoteTagMask);
    std::uint64_t generation = 0;
    if (buffer->slot >= view.slot_bound()) {
      return refuse_not_held(attachment, access.cache(), held, zeropool::lib::Mark{});
    }
    zeropool::lib::SlotWords<std::atomic>& words = view.slots[buffer->slot];
    if (attachment.watch.on() && words.mark.load(std::memory_order_relaxed) == held.word)
      attachment.watch.before_release(attachment, ring, buffer->slot);
    if (!zeropool::lib::begin_hand_off(words, held, note, generation)) {
      return refuse_not_held(attachment, access.cache(), held,
                             zeropool::lib::Mark{words.mark.load(std::memory_order_relaxed)});
    }
    charge_of(attachment).remove(attachment.rings[ring].class_bytes);  // Q1
    zeropool::lib::tracepoint::hand_off(attachment.header().pool_name,
                                        attachment.rings[ring].class_bytes, buffer->slot,
                                        generation, receiver);
    count_up(access.ops().record(ring).released);
    *handle = make_handle({generation, ring, buffer->slot, attachment.pool_tag, HandleKind::kBuffer,
                           type_tag >> zeropool::lib::TransitNote::kTagBits});
    *buffer = zp_buffer{};
  }
  if (attachment.closing.load(std::memory_order_relaxed)) end_if_unused(attachment);
  return 0;
}

bool is_type(const zp_type* type) noexcept {
  return type != nullptr && (type->tag & kNoteTagMask) != 0 && type->tag <= zeropool::kMaxTypeTag &&
         std::has_single_bit(type->alignment);
}
int no_type() noexcept {
  return fail(ErrorCode::invalid_argument,
              "a zp_type has a tag from zp_type_tag() and an alignment that is a power of two");
}

// zp_open_options as the first programs know it: without `flags`.
constexpr std::size_t kFirstOptionsBytes = offsetof(zp_open_options, flags);

}  // namespace

extern "C" {

int zp_open(const char* name, const zp_open_options* options, zp_pool** pool) {
  if (pool == nullptr)
    return fail(ErrorCode::invalid_argument, "zp_open needs a place for the pool");
  *pool = nullptr;
  AttachWish wish;
  wish.pool_name = name == nullptr ? "" : name;
  if (options != nullptr) {
    if (options->struct_bytes != sizeof(zp_open_options) &&
        options->struct_bytes != kFirstOptionsBytes) {
      return fail(ErrorCode::invalid_argument,
                  "zp_open_options.struct_bytes must be sizeof(zp_open_options)");
    }
    if (options->struct_bytes > kFirstOptionsBytes) {
      if ((options->flags & ~std::uint32_t{ZP_OPEN_DIRECT_IO}) != 0) {
        return fail(
            ErrorCode::invalid_argument,
            "zp_open_options has flags that this libzeropool does not know: zero the struct first, "
            "or install the libzeropool that it was made for");
      }
      wish.direct_io = (options->flags & ZP_OPEN_DIRECT_IO) != 0;
      wish.sample_gets = options->sample_gets;
    }
    if (options->socket != nullptr) wish.socket = options->socket;
    if (options->client_name != nullptr) wish.client_name = options->client_name;
    wish.timeout_ns = options->timeout_ns;
    wish.fd = options->fd >= 0 ? options->fd : -1;
  }
  Attachment* attachment = nullptr;
  const int code = open_attachment(wish, attachment);
  if (code == 0) *pool = c_pool(*attachment);
  return code;
}

int zp_open_fd(const char* socket) {
  const std::string path = zeropool::lib::find_socket_path(socket == nullptr ? "" : socket);
  zeropool::lib::UniqueFd fd = connect_socket(path);
  if (!fd) fail(ErrorCode::no_daemon, no_daemon_sentence(path, errno));
  return fd.release();
}

void zp_close(zp_pool* pool) {
  if (pool != nullptr) close_attachment(attachment_of(pool));
}

void zp_v1_pool_retain(zp_pool* pool) noexcept { retain_attachment(attachment_of(pool)); }

int zp_get(zp_pool* pool, size_t bytes, zp_buffer* buffer) {
  return get_within(pool, bytes, detail::kWaitAsPool, buffer);
}
int zp_get_for(zp_pool* pool, size_t bytes, int64_t timeout_ns, zp_buffer* buffer) {
  return get_within(pool, bytes, timeout_ns < 0 ? 0 : timeout_ns, buffer);
}
int zp_try_get(zp_pool* pool, size_t bytes, zp_buffer* buffer) {
  return get_within(pool, bytes, detail::kNeverWait, buffer);
}

int zp_put(zp_buffer* buffer) {
  if (buffer == nullptr || buffer->data == nullptr) return 0;
  const zp_buffer put = *buffer;
  *buffer = zp_buffer{};
  Attachment& attachment = attachment_of(put.pool);
  ThreadCache* cache = zp_v1_thread->caches[attachment.index].load(std::memory_order_relaxed);
  // Words that no get has made must not lead outside the caches.
  if (cache != nullptr && detail::ring_of(put.word) < attachment.most_rings) {
    RingCache& ring = cache->rings[detail::ring_of(put.word)];
    const zeropool::lib::Mark generation = zeropool::lib::generation_if(put.word, ring.tag);
    if (zeropool::lib::is_generation(generation) &&
        zeropool::lib::put_hit(*cache, ring, put.slot, generation)) {
      return 0;
    }
  }
  return put_one(attachment, put.word, put.slot);
}

int zp_put_ptr(zp_pool* pool, const void* data) {
  if (pool == nullptr) return no_pool();
  Attachment& attachment = attachment_of(pool);
  if (!attachment.attached())
    return fail(ErrorCode::wrong_process, "this process has no buffer of the pool");
  const auto* at = static_cast<const std::byte*>(data);
  for (std::uint32_t r = 0; r < attachment.rings.size(); ++r) {
    const RingSetup& ring = attachment.rings[r];
    if (at < ring.base ||
        at >= ring.base + std::uint64_t{ring.view.slot_capacity} * ring.class_bytes)
      continue;
    const auto slot =
        static_cast<std::uint32_t>(static_cast<std::uint64_t>(at - ring.base) / ring.class_bytes);
    if (slot >= ring.view.slot_bound()) break;
    const zeropool::lib::Mark mark{ring.view.slots[slot].mark.load(std::memory_order_relaxed)};
    return put_one(attachment, detail::make_buffer_word(mark, r, attachment.incarnation), slot);
  }
  return fail(ErrorCode::not_held, "this address is in no buffer of the pool");
}

int zp_get_batch(zp_pool* pool, const size_t* bytes, size_t count, zp_buffer* buffers) {
  if (pool == nullptr) return no_pool();
  if (count > 0 && (bytes == nullptr || buffers == nullptr)) {
    return fail(ErrorCode::invalid_argument, "zp_get_batch needs sizes and places for the buffers");
  }
  return get_batch(attachment_of(pool), bytes, count, buffers);
}

size_t zp_get_many(zp_pool* pool, size_t bytes, size_t count, zp_buffer* buffers) {
  if (pool == nullptr || (count > 0 && buffers == nullptr)) {
    fail(ErrorCode::invalid_argument, "zp_get_many needs an open pool and places for the buffers");
    return 0;
  }
  return get_many(attachment_of(pool), bytes, count, buffers);
}

void zp_put_batch(zp_buffer* buffers, size_t count) {
  if (buffers != nullptr) put_many(buffers, count);
}

int zp_release(zp_buffer* buffer, uint32_t receiver, zp_handle* handle) {
  return release_tagged(buffer, receiver, 0, handle);
}

int zp_adopt(zp_pool* pool, zp_handle handle, zp_buffer* buffer) {
  if (buffer == nullptr)
    return fail(ErrorCode::invalid_argument, "zp_adopt needs a place for the buffer");
  *buffer = zp_buffer{};
  if (pool == nullptr) return no_pool();
  return adopt(attachment_of(pool), handle, zp_type{0, 1, 0}, buffer);
}

uint32_t zp_type_tag(const char* name, uint32_t version) {
  return zeropool::type_tag(name == nullptr ? "" : name, version);
}

int zp_release_as(zp_buffer* buffer, uint32_t receiver, const zp_type* type, zp_handle* handle) {
  if (!is_type(type)) return no_type();
  if (buffer != nullptr && buffer->data != nullptr &&
      (buffer->size != type->bytes ||
       reinterpret_cast<std::uintptr_t>(buffer->data) % type->alignment != 0)) {
    return fail(ErrorCode::invalid_argument,
                "this buffer is no such type: zp_release_as needs the size and the alignment that "
                "its zp_type says");
  }
  return release_tagged(buffer, receiver, type->tag, handle);
}

int zp_adopt_as(zp_pool* pool, zp_handle handle, const zp_type* type, zp_buffer* buffer) {
  if (buffer == nullptr)
    return fail(ErrorCode::invalid_argument, "zp_adopt_as needs a place for the buffer");
  *buffer = zp_buffer{};
  if (pool == nullptr) return no_pool();
  if (!is_type(type)) return no_type();
  return adopt(attachment_of(pool), handle, *type, buffer);
}

int zp_resize(zp_buffer* buffer, size_t bytes) {
  if (buffer == nullptr || buffer->data == nullptr)
    return fail(ErrorCode::invalid_argument, "zp_resize needs a held buffer");
  Attachment& attachment = attachment_of(buffer->pool);
  if (const int code = check_incarnation(attachment, buffer->word); code != 0) return code;
  if (bytes == 0)
    return fail(ErrorCode::invalid_size, "a buffer has at least 1 byte, 0 were asked for");
  const std::uint32_t ring = detail::ring_of(buffer->word);
  const std::uint64_t capacity = attachment.rings[ring].class_bytes;
  if (bytes > capacity) {
    return fail(ErrorCode::too_large, "this buffer has " + size_text(capacity) + ", " +
                                          size_text(bytes) + " were asked for: get another");
  }
  if (attachment.watch.on()) attachment.watch.resized(ring, buffer->slot, bytes);
  buffer->size = static_cast<std::uint32_t>(bytes);
  return 0;
}

size_t zp_capacity(const zp_buffer* buffer) {
  if (buffer == nullptr || buffer->data == nullptr) return 0;
  const Attachment& attachment = attachment_of(buffer->pool);
  const std::uint32_t ring = detail::ring_of(buffer->word);
  return attachment.attached() && ring < attachment.rings.size()
             ? attachment.rings[ring].class_bytes
             : 0;
}

uint32_t zp_node(const zp_buffer* buffer) {
  if (buffer == nullptr || buffer->data == nullptr) return UINT32_MAX;
  const Attachment& attachment = attachment_of(buffer->pool);
  const std::uint32_t ring = detail::ring_of(buffer->word);
  return attachment.attached() && ring < attachment.rings.size() ? attachment.rings[ring].node
                                                                 : UINT32_MAX;
}

int zp_inherited(const zp_buffer* buffer) {
  if (buffer == nullptr || buffer->data == nullptr) return 0;
  const Attachment& attachment = attachment_of(buffer->pool);
  return attachment.attached() && detail::incarnation_of(buffer->word) == attachment.incarnation
             ? 0
             : 1;
}

int zp_owns(zp_pool* pool, const void* data) {
  return pool != nullptr && owns(attachment_of(pool), data) ? 1 : 0;
}

uint32_t zp_client_id(zp_pool* pool) {
  if (pool == nullptr || ensure_attached(attachment_of(pool)) != 0) return 0;
  return attachment_of(pool).client_id;
}

const char* zp_pool_name(const zp_pool* pool) {
  if (pool == nullptr) return "";
  const Attachment& attachment = attachment_of(const_cast<zp_pool*>(pool));
  return attachment.attached() ? attachment.header().pool_name : attachment.wish.pool_name.c_str();
}

int zp_stats(zp_pool* pool, zp_stats_data* stats) {
  if (pool == nullptr || stats == nullptr) return no_pool();
  *stats = zp_stats_data{};
  Attachment& attachment = attachment_of(pool);
  if (!attachment.attached()) return 0;  // a forked child that has done nothing yet
  Locked lock(attachment.guard->lock);
  CounterSums sums = attachment.exited;
  for (ClientCache* cache : attachment.caches) {
    CounterSums done = read_counters(attachment, *cache->hot.record);
    done.subtract(cache->taken_over);
    sums.add(done);
  }
  stats->tls_hits = sums.tls_hits;
  stats->shared_hits = sums.shared_hits;
  stats->allocations = sums.allocations;
  stats->failures = sums.failures;
  stats->gets = sums.tls_hits + sums.shared_hits + sums.allocations + sums.failures;
  stats->puts = sums.puts;
  stats->contention_events = sums.contention;
  stats->ring_claims = sums.ring_claims;
  stats->remote_gets = sums.remote_gets;
  stats->released = sums.released;
  stats->adopted = sums.adopted;
  stats->double_puts = sums.double_puts;
  stats->stale_handles = sums.stale_handles;
  stats->writes_after_put = attachment.watch.writes_after_put();
  stats->writes_beyond_size = attachment.watch.writes_beyond_size();
  return 0;
}

}  // extern "C"
