#pragma once
// zeropool: buffers from shared memory that zeropoold keeps.

#include <zeropool/buffer.hpp>
#include <zeropool/error.hpp>
#include <zeropool/handle.hpp>
#include <zeropool/memory_resource.hpp>
#include <zeropool/object_pool.hpp>
#include <zeropool/pin.hpp>
#include <zeropool/pool.hpp>
#include <zeropool/shared_buffer.hpp>
#include <zeropool/stats.hpp>
#include <zeropool/type_tag.hpp>
#include <zeropool/typed_pool.hpp>
