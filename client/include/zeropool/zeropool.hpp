#pragma once
// zeropool: buffers from shared memory that zeropoold keeps.

#include <zeropool/buffer.hpp>
#include <zeropool/error.hpp>
#include <zeropool/handle.hpp>
#include <zeropool/pin.hpp>
#include <zeropool/pool.hpp>
#include <zeropool/shared_buffer.hpp>
#include <zeropool/stats.hpp>
