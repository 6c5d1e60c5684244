#include "gstreamer_frames/pool_allocator.hpp"

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

namespace gstreamer_frames {
namespace {

struct PoolMemory : GstMemory {
  zeropool::Buffer buffer;
  std::size_t start = 0;  // the first address in it that is aligned as asked for
};

struct PoolAllocator {
  GstAllocator parent;
  zeropool::Pool* pool;
};
struct PoolAllocatorClass {
  GstAllocatorClass parent;
};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"  // the macro is C
G_DEFINE_TYPE(PoolAllocator, pool_allocator, GST_TYPE_ALLOCATOR)
#pragma GCC diagnostic pop

constexpr const char* kMemoryType = "zeropool";

GstMemory* allocate(GstAllocator* allocator, gsize bytes, GstAllocationParams* params) {
  const std::size_t all = params->prefix + bytes + params->padding;
  const std::size_t align = params->align | gst_memory_alignment;  // a mask, as GStreamer has it
  std::unique_ptr<PoolMemory> memory(new (std::nothrow) PoolMemory);
  if (!memory) return nullptr;
  // Waits for as long as the pool says: a viewer that is late slows the source down, and memory stays bounded.
  memory->buffer = reinterpret_cast<PoolAllocator*>(allocator)->pool->get(all + align);
  if (!memory->buffer) {
    std::fprintf(stderr, "gstreamer_frames: no buffer for a frame of %zu bytes: %s\n", all,
                 memory->buffer.error().sentence.c_str());
    return nullptr;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(memory->buffer.data());
  memory->start = ((address + align) & ~align) - address;
  std::byte* data = memory->buffer.data() + memory->start;
  if ((params->flags & GST_MEMORY_FLAG_ZERO_PREFIXED) != 0) std::memset(data, 0, params->prefix);
  if ((params->flags & GST_MEMORY_FLAG_ZERO_PADDED) != 0) {
    std::memset(data + params->prefix + bytes, 0, params->padding);
  }
  // NO_SHARE: nobody makes a part of it that would outlive the hand-off; GStreamer copies then.
  gst_memory_init(memory.get(),
                  static_cast<GstMemoryFlags>(params->flags | GST_MEMORY_FLAG_NO_SHARE), allocator,
                  nullptr, all, align, params->prefix, bytes);
  return memory.release();
}

void give_back(GstAllocator*, GstMemory* memory) { delete static_cast<PoolMemory*>(memory); }

gpointer map(GstMemory* memory, gsize, GstMapFlags) {
  const auto* ours = static_cast<PoolMemory*>(memory);
  return ours->buffer.data() + ours->start;
}

void pool_allocator_class_init(PoolAllocatorClass* self) {
  self->parent.alloc = allocate;
  self->parent.free = give_back;
}

void pool_allocator_init(PoolAllocator* self) {
  self->parent.mem_type = kMemoryType;
  self->parent.mem_map = map;
  self->parent.mem_unmap = [](GstMemory*) {};
}

GstPadProbeReturn answer(GstPad*, GstPadProbeInfo* info, gpointer allocator) {
  GstQuery* query = gst_pad_probe_info_get_query(info);
  if (GST_QUERY_TYPE(query) != GST_QUERY_ALLOCATION) return GST_PAD_PROBE_OK;
  gst_query_add_allocation_param(query, static_cast<GstAllocator*>(allocator), nullptr);
  return GST_PAD_PROBE_HANDLED;
}

}  // namespace

GstAllocator* make_pool_allocator(zeropool::Pool& pool) {
  auto* allocator = static_cast<PoolAllocator*>(g_object_new(pool_allocator_get_type(), nullptr));
  allocator->pool = &pool;
  return static_cast<GstAllocator*>(gst_object_ref_sink(allocator));
}

void propose(GstAllocator* allocator, GstPad* pad) {
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM, answer, allocator, nullptr);
}

zeropool::Buffer take_buffer(GstBuffer* frame, std::uint64_t& offset) {
  if (gst_buffer_n_memory(frame) != 1 || !gst_buffer_is_writable(frame) ||
      !gst_memory_is_type(gst_buffer_peek_memory(frame, 0), kMemoryType)) {
    return {};
  }
  GstMemory* memory = gst_buffer_get_memory(frame, 0);
  gst_buffer_remove_all_memory(frame);  // so GStreamer's pool of frames does not use this one again
  if (GST_MINI_OBJECT_REFCOUNT_VALUE(memory) != 1) {
    gst_buffer_append_memory(frame, memory);
    return {};
  }
  auto* ours = static_cast<PoolMemory*>(memory);
  offset = ours->start + ours->offset;
  zeropool::Buffer buffer = std::move(ours->buffer);
  gst_memory_unref(memory);
  return buffer;
}

}  // namespace gstreamer_frames
