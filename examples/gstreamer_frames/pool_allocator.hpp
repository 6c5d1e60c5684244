#pragma once
// PoolAllocator: a GstAllocator each of whose GstMemory is one Buffer of a pool.
//
// Thread safety: as GStreamer asks of allocators: any thread. take_buffer() is for the one that has the frame.
// Where GStreamer drops the last reference to a GstMemory, its Buffer goes back to the pool. GStreamer's own counts say when
// a frame is nobody else's: then its Buffer can be taken, to be released to another process.

#include <cstdint>

#include <gst/gst.h>

#include <zeropool/zeropool.hpp>

namespace gstreamer_frames {

// After gst_init(). `pool` must live longer than all that it allocates. To be given up by gst_object_unref().
GstAllocator* make_pool_allocator(zeropool::Pool& pool);

// Whoever asks `pad`, of a sink, where to put its frames is told: there.
void propose(GstAllocator* allocator, GstPad* pad);

// The Buffer behind the frame, which starts `offset` bytes into it; the GstBuffer is empty after that. An empty Buffer, and
// the frame as it was, where somebody else has a reference to it or to its memory, or the memory is not of a PoolAllocator.
zeropool::Buffer take_buffer(GstBuffer* frame, std::uint64_t& offset);

}  // namespace gstreamer_frames
