#pragma once
// The hasher: takes chunks from every reader as they come, and reports each file's digest.

#include "pipeline/options.hpp"

namespace pipeline {

// Returns the exit status.
int run_hasher(const Options& options);

}  // namespace pipeline
