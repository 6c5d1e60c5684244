#pragma once
// The reader: gets jobs (a hasher and some files), reads the files in chunks, and sends those to that hasher.

#include "pipeline/options.hpp"

namespace pipeline {

// Returns the exit status.
int run_reader(const Options& options);

}  // namespace pipeline
