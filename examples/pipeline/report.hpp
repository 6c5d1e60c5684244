#pragma once
// What a run says at its end: a table for people, JSON for programs, sums as sha256sum writes them.

#include <cstdio>
#include <string>

#include "pipeline/coordinator.hpp"

namespace pipeline {

void print_table(std::FILE* out, const Options& options, const FileList& list,
                 const Coordinator& coordinator);
void print_json(std::FILE* out, const Options& options, const FileList& list,
                const Coordinator& coordinator);
// Throws std::system_error.
void write_sums(const std::string& path, const FileList& list, const WorkList& work);

}  // namespace pipeline
