#pragma once
// The second process: reads the pictures where they lie, and answers with a sum of each.

#include <cstddef>
#include <string>

namespace ffmpeg_frames {

// Until the decoder hangs up. Looks at a picture only when it holds more than `behind` later ones.
int run_viewer(const std::string& socket, const std::string& pool_name, std::size_t behind);

}  // namespace ffmpeg_frames
